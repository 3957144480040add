import asyncio
import os
import re
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from config.settings import environment
from control.supervisor import ports, workers
from tests.control import supervised

ROOT = Path(__file__).parents[2]
FREE_PORTS = {"FAREBOX_LISTEN__PORT": "0", "FAREBOX_METRICS__PORT": "0", "PYTHONPATH": str(ROOT)}


class Started:
    """A supervisor in a process of its own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until_ready(self) -> str:
        """The origin in the last line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while line := (await self.process.stdout.readline()).decode().rstrip("\n"):
                self.lines.append(line)
                if line.startswith("farebox ready: "):
                    return line.removeprefix("farebox ready: ")
        raise AssertionError(await self.errors())

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    def descendants(self) -> set[int]:
        parents = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.parent.name)] = int(fields[1])
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(40):
            _, code = await asyncio.gather(self.errors(), self.process.wait())
        return code


@asynccontextmanager
async def started(
    directory: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Started]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        supervised.__file__,
        "up",
        str(directory),
        *arguments,
        env=environment({**FREE_PORTS, **(settings or {})}),
        stdout=PIPE,
        stderr=PIPE,
        limit=1 << 20,
    )
    try:
        yield Started(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that other users may pass through, unlike ``tmp_path``."""
    with tempfile.TemporaryDirectory(prefix="up-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "data"


async def get(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.json(content_type=None) if "metrics" not in url else await response.text()


async def until_gone(pids: set[int], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if not any(is_alive(pid) for pid in pids):
                return
            await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_everything_is_started_said_and_stopped(directory: Path) -> None:
    async with started(directory, settings={"FAREBOX_LISTEN__WORKERS": "2"}) as first:
        origin = await first.until_ready()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", origin)
        made, key, postgres, docs, metrics, ready = first.lines
        assert made.startswith("first start: a database in ")
        assert "secrets.key" in made
        assert key.endswith("the-operators-key")
        assert postgres.startswith("postgres: 127.0.0.1:")
        assert docs == f"docs: {origin}/docs"
        assert metrics.startswith("metrics: http://127.0.0.1:")
        assert ready == f"farebox ready: {origin}"
        told = await get(origin)
        assert told["public_url"] == origin
        assert told["roles"] == ["gateway", "control"]
        pids = first.descendants()
        begin = time.monotonic()
        assert await first.stop() == 0
        assert time.monotonic() - begin < 10
        assert not [pid for pid in pids if is_alive(pid)]
    stored = (directory / "secrets.key").read_text().split()
    assert told["keys"] == stored
    assert (directory / "secrets.key").stat().st_mode & 0o777 == 0o600
    async with started(directory) as second:
        origin = await second.until_ready()
        assert len(second.lines) == 4
        assert (await get(origin))["keys"] == stored
        assert await second.stop(signal.SIGINT) == 0


async def test_a_second_one_on_the_same_directory_is_refused(directory: Path) -> None:
    async with started(directory) as first:
        await first.until_ready()
        async with started(directory) as second:
            assert str(directory) in await second.errors()
            assert await second.process.wait() == 1
        await first.stop()


async def test_a_killed_supervisor_leaves_no_process_and_all_rows(directory: Path) -> None:
    async with started(directory) as first:
        told = await get(await first.until_ready())
        connection = await asyncpg.connect(told["dsn"])
        await connection.execute("INSERT INTO stand_in VALUES (1)")
        pids = first.descendants()
        assert len(pids) > 4
        first.process.kill()
        # At once, while the first one's database is still stopping.
        async with started(directory) as second:
            told = await get(await second.until_ready())
            await until_gone(pids, 10)
            again = await asyncpg.connect(told["dsn"])
            assert await again.fetchval("SELECT id FROM stand_in") == 1
            await again.close()
            await second.stop()
        connection.terminate()
        await first.process.wait()


@pytest.mark.parametrize("victim", ["postgres", "valkey-server", "supervised.py"])
async def test_what_dies_is_started_again(directory: Path, victim: str) -> None:
    async with started(directory) as one:
        origin = await one.until_ready()
        dsn = (await get(origin))["dsn"]
        dead = {pid for pid in one.descendants() if is_direct(pid, one.process.pid, victim)}
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        await until_gone(dead, 5)
        async with asyncio.timeout(20):
            while True:
                again = {pid for pid in one.descendants() if is_direct(pid, one.process.pid, victim)}
                if len(again) == len(dead) and await is_whole(origin):
                    break
                await asyncio.sleep(0.1)
        connection = await asyncpg.connect(dsn)
        await connection.close()
        scrape = await get(one.lines[-2].removeprefix("metrics: "))
        assert re.search(r'farebox_process_restarts_total\{process="\w+"\} 1\.0', scrape)
        assert await one.stop() == 0


def is_direct(pid: int, parent: int, program: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return f"PPid:\t{parent}\n" in status and program in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


async def is_whole(origin: str) -> bool:
    try:
        told = await get(origin)
        connection = await asyncpg.connect(told["dsn"])
        await connection.close()
    except (OSError, aiohttp.ClientError, asyncpg.PostgresError):
        return False
    return True


async def test_one_scrape_adds_up_all_processes(directory: Path) -> None:
    async with started(directory, settings={"FAREBOX_LISTEN__WORKERS": "2"}) as one:
        origin = await one.until_ready()
        for _ in range(20):
            await get(origin)
        scrape = await get(one.lines[-2].removeprefix("metrics: "))
        assert "stand_in_calls_total 20.0" in scrape
        await one.stop()


async def test_a_call_under_way_is_finished_before_the_end(directory: Path) -> None:
    async with started(directory) as one:
        origin = await one.until_ready()
        async with asyncio.TaskGroup() as group:
            call = group.create_task(get(f"{origin}/?seconds=2"))
            await asyncio.sleep(0.5)
            assert await one.stop() == 0
        assert call.result()["roles"] == ["gateway", "control"]


async def test_what_ignores_the_signal_is_ended_within_30_seconds(directory: Path) -> None:
    async with started(directory, "EVERYTHING", "ignore") as one:
        await one.until_ready()
        pids = one.descendants()
        begin = time.monotonic()
        assert await one.stop() == 0
        waited = time.monotonic() - begin
        assert waited > supervised.IGNORED_SECONDS - 0.5
        assert workers.DRAIN_SECONDS + waited - supervised.IGNORED_SECONDS < 30
        assert not [pid for pid in pids if is_alive(pid)]


async def test_a_worker_that_cannot_start_is_a_sentence(directory: Path) -> None:
    async with started(directory, "EVERYTHING", "refuse") as one:
        errors = await one.errors()
        assert await one.process.wait() == 1
    assert "the stand-in does not want to start" in errors
    assert re.search(r"farebox: The (worker 1|jobs|computes) did not start \(status 1\)", errors)
    assert "Traceback" not in errors


@pytest.mark.parametrize("variable", [f"FAREBOX_{name}__PORT" for name in ("LISTEN", "METRICS", "PGPROXY")])
async def test_a_port_that_is_taken_is_a_sentence(directory: Path, variable: str) -> None:
    with ports.listen_alone("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        async with started(directory, settings={variable: str(port)}) as one:
            assert f"farebox: Port {port} on 127.0.0.1 cannot be used" in await one.errors()
            assert await one.process.wait() == 1


def test_a_held_port_is_taken_before_anybody_listens_and_can_be_joined() -> None:
    host = "127.0.0.1"
    with (
        ports.held(host, 0) as port,
        ports.join(host, port),
        ports.join(host, port),
        pytest.raises(ports.PortTaken),
        ports.held(host, port),
    ):
        pass


def test_connections_that_a_killed_one_left_do_not_keep_its_port() -> None:
    host = "127.0.0.1"
    with ports.held(host, 0) as port, ports.join(host, port) as door:
        door.listen()
        caller = socket.create_connection((host, port))
        served, _ = door.accept()
    # As the kernel does for a process that dies; the caller hangs up a moment later.
    served.close()
    caller.close()
    with ports.held(host, port):
        pass


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({}, "schema is older than this farebox"),
        ({"FAREBOX_SECRETS__KEYS": "[]"}, "schema is older than this farebox"),
        ({"FAREBOX_POSTGRES__DSN": "postgresql://x@/x?host=/nowhere"}, "The database cannot be reached"),
    ],
)
async def test_a_role_alone_refuses_what_it_cannot_work_with(
    server: str, directory: Path, settings: dict[str, str], complaint: str
) -> None:
    async with started(directory, "GATEWAY", settings={"FAREBOX_POSTGRES__DSN": server, **settings}) as one:
        errors = await one.errors()
        assert complaint in errors
        assert "Traceback" not in errors
        assert await one.process.wait() == 1


async def test_a_role_alone_serves_with_keys_and_a_schema(
    server: str, database: str, directory: Path
) -> None:
    dsn = server.replace("/postgres?", f"/{database}?")
    key = "only:" + "A" * 43 + "="
    settings = {"FAREBOX_POSTGRES__DSN": dsn, "FAREBOX_SECRETS__KEYS": f'["{key}"]'}
    async with started(directory, "GATEWAY", settings=settings) as one:
        told = await get(await one.until_ready())
        assert told["roles"] == ["gateway"]
        assert told["dsn"] == dsn
        assert told["keys"] == [key]
        assert len(one.lines) == 2
        await one.stop()
    async with started(directory, "WORKER", settings=settings) as one:
        await one.until_ready()
        await one.stop()
    async with started(directory, "GATEWAY", settings={"FAREBOX_POSTGRES__DSN": dsn}) as one:
        assert "FAREBOX_SECRETS__KEYS is not set" in await one.errors()
