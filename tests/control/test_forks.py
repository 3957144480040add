"""Processes that come of one that has everything imported."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from control.embedded.processes import Command, Process, StartFailed
from control.supervisor import forks, workers
from control.supervisor.forks import Nursery
from tests.waiting import SECONDS_MAX, until


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    nursery = Nursery({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    async with nursery.serving():
        yield nursery


@pytest.fixture
def waiting() -> Iterator[Command]:
    """Of background jobs whose database takes their connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        dsn = f"postgresql://farebox@127.0.0.1:{mute.getsockname()[1]}/farebox"
        yield command("worker", FAREBOX_POSTGRES__DSN=dsn)


def command(*argv: str, **variables: str) -> Command:
    return workers.command("child", argv, {"FAREBOX_LISTEN__PORT": "0", **variables})


async def ended(nursery: Nursery, one: Command) -> tuple[list[str], str]:
    lines: list[str] = []
    async with nursery.running(one, lines.append) as process:
        async with asyncio.timeout(20):
            await process.exited.wait()
            await until(lambda: is_said(lines))
    return lines, process.ending


async def is_said(lines: list[str]) -> bool:
    return bool(lines)


async def test_what_it_writes_and_how_it_ends_is_told(nursery: Nursery) -> None:
    lines, ending = await ended(nursery, command("--help"))
    assert lines[0].startswith("usage:")
    assert ending == "status 0"


async def test_each_has_variables_of_its_own(nursery: Nursery) -> None:
    """And neither changes what the next one begins with."""
    wrong = command("worker", FAREBOX_POSTGRES__POOL_SIZE="many")
    async with nursery.running(wrong, print) as process:
        await asyncio.wait_for(process.exited.wait(), SECONDS_MAX)
    assert process.ending == "status 1"
    assert await ended(nursery, command("--help")) == (await ended(nursery, command("--help")))


async def test_a_process_is_a_child_of_ours_and_outlives_what_it_was_forked_from(
    tmp_path: Path, waiting: Command
) -> None:
    nursery = Nursery({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(nursery.serving())
        process = await stack.enter_async_context(nursery.running(waiting, print))
        first.kill()
        await first.exited.wait()
        await asyncio.sleep(0.1)
        assert process.is_running
        assert parent_of(process) == os.getpid()
        process.kill()
        await asyncio.wait_for(process.exited.wait(), SECONDS_MAX)
        assert process.ending == "SIGKILL"


async def test_who_asks_while_it_is_away_waits_for_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nursery = Nursery({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(ended(nursery, command("--help")))
        await asyncio.sleep(0)
        async with nursery.serving():
            assert (await asked)[1] == "status 0"
    monkeypatch.setattr(workers, "START_SECONDS_MAX", 0.01)
    with pytest.raises(StartFailed, match="nothing to be forked from"):
        await ended(nursery, command("--help"))


async def test_one_that_does_not_answer_is_ended(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "ANSWER_SECONDS_MAX", 0.2)
    stopped = nursery.process
    assert stopped is not None
    stopped.transport.send_signal(signal.SIGSTOP)
    with pytest.raises(StartFailed, match="lost"):
        await ended(nursery, command("--help"))
    await asyncio.wait_for(stopped.exited.wait(), SECONDS_MAX)


async def test_one_that_is_not_wanted_any_more_does_not_stay(nursery: Nursery, waiting: Command) -> None:
    before = children()
    async with asyncio.TaskGroup() as group:
        for moment in (0, 0.001, 0.003, 0.01, 0.03):
            task = group.create_task(ended(nursery, waiting))
            await asyncio.sleep(moment)
            task.cancel()
    await until(lambda: children() == before)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def parent_of(process: Process) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])
