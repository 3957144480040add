import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from control.computes.opening import opened
from control.computes.provider import HEAD, ComputeUnavailable, TimelineSpec, TimelineUnknown
from control.embedded import orphans, postgres
from tests.control.computes.rows import SPEC, numbers, session

PROJECT = TimelineSpec("shop")
TOP = Path(__file__).parents[3]


@pytest.fixture
async def made(root: Path) -> AsyncIterator[Path]:
    """``main`` and its branch ``child``, both asleep, and no process."""
    async with opened(root) as provider:
        await provider.create_timeline("main", PROJECT)
        async with session(provider, "main") as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        await provider.stop_all()
    yield root
    async with opened(root) as provider:
        await provider.stop_all()


async def kill_when(root: Path, step: str, sign: str) -> None:
    """Run a gateway of its own, and end it with SIGKILL as soon as a file of that name is there."""
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.control.computes.victim", root, step, cwd=TOP
    )
    try:
        # Some are there for milliseconds. One that was not seen ends in a kill as well, after the step.
        with suppress(TimeoutError):
            async with asyncio.timeout(15):
                while not await asyncio.to_thread(is_there, root, sign):
                    assert victim.returncode is None
                    await asyncio.sleep(0.001)
    finally:
        victim.kill()
        await victim.wait()


def is_there(root: Path, sign: str) -> bool:
    try:
        return any(True for _ in (root / "timelines").glob(sign))
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "sign",
    [
        "child.new",  # the name
        "child.new/pgdata/base",  # the copy of the base
        "child.new/pgdata/recovery.signal",  # the copy of the log
        "child.new/pgdata/postmaster.pid",  # the server that replays
        "child.new/pgdata/pg_wal/00000002.history",  # which has become a database of its own
        "child.new/base/*.new",  # the first base of its own
        "child",  # all of it
    ],
)
async def test_a_branch_is_there_whole_or_not_at_all(made: Path, sign: str) -> None:
    await kill_when(made, "derive", sign)
    async with opened(made) as provider:
        left = sorted(path.name for path in (made / "timelines").iterdir())
        assert left in (["main"], ["child", "main"])
        if sign == "child":
            assert left == ["child", "main"]
        # Asked again, as a job that was interrupted is, it gets there.
        await provider.create_timeline("child", PROJECT, ("main", HEAD))
        assert await numbers(provider, "child") == [1]
        assert await numbers(provider, "main") == [1]
        await provider.stop_all()


@pytest.mark.parametrize(
    "sign", ["main/tail", "main/archive.tar.gz.new", "main/archive.tar.gz", "main/pgdata.gone"]
)
async def test_archiving_loses_nothing(made: Path, sign: str) -> None:
    await kill_when(made, "archive", sign)
    async with opened(made) as provider:
        await provider.archive("main")
        assert await numbers(provider, "main") == [1]
        await provider.stop_all()


@pytest.mark.parametrize(
    "sign", ["main/unpacked.new", "main/unpacked.new/pgdata/global", "main/pgdata/PG_VERSION"]
)
async def test_the_way_back_from_the_archive_loses_nothing(made: Path, sign: str) -> None:
    async with opened(made) as provider:
        await provider.archive("main")
    await kill_when(made, "unarchive", sign)
    async with opened(made) as provider:
        assert await numbers(provider, "main") == [1]
        await provider.stop_all()


async def test_what_is_being_deleted_is_gone_after_a_kill(made: Path) -> None:
    async with opened(made) as provider:
        await provider.create_timeline("child", PROJECT, ("main", HEAD))
    await kill_when(made, "delete", "child.gone")
    async with opened(made) as provider:
        with pytest.raises(TimelineUnknown):
            await provider.stat("child")
        assert [path.name for path in (made / "timelines").iterdir()] == ["main"]


@pytest.mark.parametrize("sign", ["main/compute.json", "main/pgdata/postmaster.pid"])
async def test_a_start_that_nobody_saw_through_is_taken_up_or_over(made: Path, sign: str) -> None:
    await kill_when(made, "start", sign)
    async with opened(made) as provider:
        await provider.start("rw", "main", SPEC)
        data = provider.store.place("main").data
        servers = [pid for pid in orphans.occupants(data) if parent_of(pid) not in orphans.occupants(data)]
        assert servers == [int(postgres.pid_file(data)[0])]
        await provider.stop_all()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_server_that_is_killed_while_it_replays_leaves_nothing(made: Path) -> None:
    async with opened(made) as provider:
        creating = asyncio.ensure_future(  # noqa: TID251 - the test holds it
            provider.create_timeline("child", PROJECT, ("main", HEAD))
        )
        file = made / "timelines" / "child.new" / "pgdata"
        async with asyncio.timeout(30):
            while not (status := await asyncio.to_thread(postgres.pid_file, file)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        os.kill(int(status[0]), signal.SIGKILL)
        with pytest.raises(ComputeUnavailable):
            await creating
        assert [path.name for path in (made / "timelines").iterdir()] == ["main"]
        await provider.create_timeline("child", PROJECT, ("main", HEAD))


async def test_a_branch_whose_caller_went_away_is_made_whole(made: Path) -> None:
    async with opened(made) as provider:
        for seconds in (0.001, 0.05, 0.15):
            asking = asyncio.gather(
                *(provider.create_timeline("child", PROJECT, ("main", HEAD)) for _ in range(3))
            )
            await asyncio.wait([asking], timeout=seconds)
            asking.cancel()
            await asyncio.wait([asking])
            # One whose asking had not begun has nothing made.
            await provider.create_timeline("child", PROJECT, ("main", HEAD))
            assert await numbers(provider, "child") == [1]
            await provider.stop("on-child")
            await provider.delete_timeline("child")
            assert [path.name for path in (made / "timelines").iterdir()] == ["main"]
