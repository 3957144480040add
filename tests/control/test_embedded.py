import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from control.embedded import binaries, directory, postgres, processes, valkey
from control.embedded.directory import DirectoryUnusable
from control.embedded.processes import Command, Process, StartFailed
from tests.waiting import SECONDS_MAX, until


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory that other users may pass through, unlike those under ``tmp_path``."""
    with tempfile.TemporaryDirectory(prefix="data-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """One that other users may not pass through."""
    tmp_path.chmod(0o700)
    return tmp_path


@asynccontextmanager
async def database(
    path: Path, programs: Path | None = None, connections: int = 0
) -> AsyncIterator[asyncpg.Connection]:
    with ExitStack() as stack:
        claimed = stack.enter_context(directory.claimed(path))
        sockets = stack.enter_context(directory.sockets(claimed))
        cluster = await postgres.prepare(claimed, sockets, programs, connections)
        async with postgres.serving(cluster):
            connection = await asyncpg.connect(cluster.dsn)
            yield connection
            await connection.close()


async def test_rows_are_there_after_a_restart_and_the_settings_are_safe(data: Path) -> None:
    async with database(data) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    async with database(data) as connection:
        assert await connection.fetchval("SELECT n FROM kept") == 1
        expected = {
            "fsync": "on", "data_checksums": "on", "server_encoding": "UTF8", "listen_addresses": "",
            "synchronous_commit": "on", "full_page_writes": "on",
        }  # fmt: skip
        shown = {name: await connection.fetchval(f"SHOW {name}") for name in expected}
        assert shown == expected
        locale = await connection.fetchrow(
            "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()"
        )
        assert locale is not None
        assert tuple(locale) == (b"b", "C.UTF-8")


async def test_a_server_takes_as_many_clients_as_its_processes_are(data: Path) -> None:
    for wanted, shown in ((230, "230"), (30, "200")):
        async with database(data, connections=wanted) as connection:
            assert await connection.fetchval("SHOW max_connections") == shown


async def test_a_directory_with_a_long_name_that_others_may_not_enter_will_do(closed: Path) -> None:
    path = closed / ("long" * 40) / "data"
    async with database(path) as connection:
        assert await connection.fetchval("SELECT 1") == 1
        host = (path / "run").resolve()
        assert host.parent == Path("/tmp")
        assert (host / "postgres").stat().st_mode & 0o777 == 0o700
    assert not host.exists()


async def test_what_a_killed_initdb_left_is_not_in_the_way(data: Path) -> None:
    (data / "postgres.new").mkdir()
    (data / "postgres.new" / "PG_VERSION").write_text("18")
    async with database(data) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_pid_file_whose_number_belongs_to_a_stranger_is_not_in_the_way(data: Path) -> None:
    async with database(data):
        text = (data / "postgres" / "postmaster.pid").read_text()
    uid = directory.dropped(directory.POSTGRES_UID)
    stranger = Command("stranger", ("/bin/sleep", "60"), binaries.ENVIRONMENT, Path("/"), uid)
    async with processes.running(stranger, print) as process:
        _, _, rest = text.partition("\n")
        (data / "postgres" / "postmaster.pid").write_text(f"{process.pid}\n{rest}")
        async with database(data) as connection:
            assert await connection.fetchval("SELECT 1") == 1
        assert process.is_running


async def test_a_cluster_of_another_version_is_refused_by_name(data: Path) -> None:
    async with database(data):
        pass
    (data / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(StartFailed, match="was made by PostgreSQL 17 and this is 18"):
        async with database(data):
            pass


async def test_programs_without_a_database_are_refused(data: Path) -> None:
    with pytest.raises(StartFailed, match="There is no program postgres in"):
        async with database(data, data):
            pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root hands a server to another user")
async def test_programs_out_of_the_users_reach_are_copied(data: Path, closed: Path) -> None:
    hidden = binaries.copy_tree(postgres.bin_dir(), closed / "site-packages")
    async with database(data, hidden) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    version = await binaries.version(hidden / "postgres")
    assert [path.name for path in (data / "bin").iterdir()] == [f"postgres-{version}"]


async def test_a_killed_postgres_is_started_again_at_the_same_address(data: Path) -> None:
    ended: list[str] = []
    with directory.claimed(data), directory.sockets(data) as sockets:
        cluster = await postgres.prepare(data, sockets, None)
        starts = {"postgres": partial(postgres.serving, cluster)}
        async with processes.kept(starts, lambda name, pid: ended.append(name)):
            connection = await asyncpg.connect(cluster.dsn)
            await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
            os.kill(int(postgres.pid_file(cluster.data)[0]), signal.SIGKILL)
            assert await eventually(cluster.dsn, "SELECT n FROM kept") == 1
            connection.terminate()
    assert ended == ["postgres"]


async def eventually(dsn: str, query: str) -> object:
    async with asyncio.timeout(20):
        while True:
            await asyncio.sleep(0.1)
            try:
                connection = await asyncpg.connect(dsn)
            except (OSError, asyncpg.PostgresError):
                continue
            try:
                return await connection.fetchval(query)
            except asyncpg.PostgresError:
                continue
            finally:
                connection.terminate()


async def test_valkey_answers_on_a_private_socket_and_forgets_when_full(data: Path) -> None:
    instance = await valkey.prepare(data, data)
    async with valkey.serving(instance) as process, Redis.from_url(instance.url) as client:
        await client.set("a", "1")
        assert await client.get("a") == b"1"
        memory = await client.config_get("maxmemory*")
        assert memory["maxmemory"] == str(128 << 20)
        assert memory["maxmemory-policy"] == "allkeys-lru"
        assert instance.socket.parent.stat().st_mode & 0o777 == 0o700
    assert not process.is_running


def test_a_directory_is_claimed_by_one_at_a_time(tmp_path: Path) -> None:
    with directory.claimed(tmp_path / "data") as path:
        refusal = pytest.raises(DirectoryUnusable, match=rf"{path} is in use .*process {os.getpid()}\)")
        with refusal, directory.claimed(path):
            pass
    with directory.claimed(path):
        pass


STARTING = """
import os, sys, time
from pathlib import Path
from control.embedded import directory

with directory.claimed(Path(sys.argv[1])):
    # As every process that is being started for a moment: all our descriptors, and still our program.
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


def test_who_was_killed_while_it_started_a_process_holds_no_directory(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", STARTING, str(tmp_path / "data"))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        child = int(killed.stdout.readline())
        refusal = pytest.raises(DirectoryUnusable, match=rf"process {killed.pid}\)")
        with refusal, directory.claimed(tmp_path / "data"):
            pass
        killed.kill()
        killed.wait()
        try:
            with directory.claimed(tmp_path / "data"):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_directory_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refusal = pytest.raises(DirectoryUnusable, match="Choose another one with --data-dir")
    with refusal, directory.claimed(tmp_path / "file" / "data"):
        pass


def test_the_short_directory_of_a_killed_server_is_removed(tmp_path: Path) -> None:
    left = Path(tempfile.mkdtemp(prefix="farebox-", dir="/tmp"))
    (tmp_path / "run").symlink_to(left)
    with directory.sockets(tmp_path):
        assert not left.exists()


def shell(script: str, *stops: tuple[signal.Signals, float]) -> Command:
    return Command("shell", ("/bin/sh", "-c", script), binaries.ENVIRONMENT, Path("/"), stops=stops)


async def test_a_process_that_ignores_its_signals_is_killed() -> None:
    lines: list[str] = []
    command = shell("trap '' TERM; echo up; while :; do sleep 0.1; done", (signal.SIGTERM, 0.3))
    async with asyncio.timeout(SECONDS_MAX), processes.running(command, lines.append) as process:
        await until(lambda: lines)
    assert process.ending == "SIGKILL"


@asynccontextmanager
async def started(command: Command) -> AsyncIterator[Process]:
    async with processes.running(command, print) as process:
        yield process


async def test_what_ends_is_started_again_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PAUSE_SECONDS_MIN", 0.1)
    ends: list[float] = []
    starts = {"shell 1": partial(started, shell("exit 3"))}
    async with processes.kept(starts, lambda name, pid: ends.append(time.monotonic())):
        await until(lambda: len(ends) >= 4)
    pauses = [later - earlier for earlier, later in pairwise(ends)]
    assert pauses[0] > 0.1
    assert pauses[1] > 0.2
    assert pauses[2] > 0.4


async def test_a_first_start_that_fails_is_told() -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[Process]:
        raise StartFailed("no")
        yield

    with pytest.RaisesGroup(StartFailed):
        async with processes.kept({"one": failing}, lambda name, pid: None):
            pytest.fail("it was entered")


async def test_a_program_that_is_missing_ends_with_a_sentence() -> None:
    lines: list[str] = []
    command = Command("none", ("/nowhere/program",), binaries.ENVIRONMENT, Path("/"))
    async with processes.running(command, lines.append) as process:
        await process.exited.wait()
    assert lines == ["/nowhere/program: No such file or directory"]
    assert process.ending == "status 1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
async def test_a_process_dies_with_its_parent() -> None:
    script = (
        "import asyncio, os, pathlib, signal\n"
        "from control.embedded import processes\n"
        "async def main():\n"
        "    command = processes.Command('sleep', ('/bin/sleep', '60'), {}, pathlib.Path('/'))\n"
        "    async with processes.running(command, print) as process:\n"
        "        print(process.pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    output, _ = await parent.communicate()
    await until(lambda: not is_alive(int(output)))


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cwd").exists()
