import asyncio
import os
import signal
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from control.computes import keeping
from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.computes.provider import (
    At,
    ComputeEvent,
    ComputeSpec,
    State,
    TimelineBusy,
    TimelineSpec,
)
from control.embedded import postgres
from control.embedded.directory import DirectoryUnusable
from tests.control.computes.rows import SPEC, numbers, session

PROJECT = TimelineSpec("shop")
SHORT = ComputeSpec(suspend_seconds=1)


@pytest.fixture
async def main(provider: LocalProvider) -> str:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    await provider.stop("on-main")
    return "main"


def pid_of(provider: LocalProvider, timeline: str) -> int:
    return int(postgres.pid_file(provider.store.place(timeline).data)[0])


def drained(provider: LocalProvider) -> list[ComputeEvent]:
    events = [event for _, event in provider.bulletin.kept]
    provider.bulletin.kept.clear()
    return events


async def until_asleep(provider: LocalProvider, endpoint: str) -> None:
    async with asyncio.timeout(20):
        while (await provider.status(endpoint)).state is not State.IDLE:
            await keeping.suspend_idle(provider)
            await asyncio.sleep(0.1)


async def test_twenty_at_once_start_one_server(provider: LocalProvider, main: str) -> None:
    drained(provider)
    addresses = await asyncio.gather(*(provider.start("rw", main, SPEC) for _ in range(20)))
    assert len({address.sockets for address in addresses}) == 1
    assert [event.kind for event in drained(provider)] == ["ready"]


async def test_it_sleeps_when_nobody_uses_it_and_says_why_it_does_not(
    provider: LocalProvider, main: str
) -> None:
    await provider.start("rw", main, SHORT)
    (just_used,) = (await provider.status("rw")).why_active
    assert just_used == "it was used 0 seconds ago, and sleeps after 1"
    connection = await asyncpg.connect(
        host=str((await provider.start("rw", main, SHORT)).sockets), user="cloud_admin", database="postgres"
    )
    await connection.execute("BEGIN")
    await asyncio.sleep(1.1)
    await keeping.suspend_idle(provider)
    (in_transaction,) = (await provider.status("rw")).why_active
    assert in_transaction == f"session {connection.get_server_pid()} is idle in transaction"
    await connection.execute("COMMIT")
    # Connected and silent is asleep; a proxy that moves bytes keeps it awake.
    await until_asleep(provider, "rw")
    await connection.close()
    assert [event.kind for event in drained(provider)][-1] == "suspended"
    assert await numbers(provider, main) == [1]


async def test_traffic_keeps_it_awake(provider: LocalProvider, main: str) -> None:
    await provider.start("rw", main, SHORT)
    for _ in range(6):
        await asyncio.sleep(0.3)
        provider.traffic("rw")
        await keeping.suspend_idle(provider)
    assert (await provider.status("rw")).state is State.ACTIVE


async def test_who_comes_while_it_falls_asleep_waits_and_is_served(
    provider: LocalProvider, main: str
) -> None:
    for _ in range(5):
        await provider.start("rw", main, SPEC)
        _, address = await asyncio.gather(provider.stop("rw"), provider.start("rw", main, SPEC))
        connection = await asyncpg.connect(host=str(address.sockets), user="cloud_admin", database="postgres")
        await connection.close()


async def test_two_endpoints_share_a_server_and_one_only_reads(provider: LocalProvider, main: str) -> None:
    written = await provider.start("rw", main, SPEC)
    read = await provider.start("ro", main, ComputeSpec(is_read_only=True))
    assert written.sockets == read.sockets
    assert not written.parameters
    connection = await asyncpg.connect(
        host=str(read.sockets), user="cloud_admin", database="postgres",
        server_settings=dict(read.parameters),
    )  # fmt: skip
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute("INSERT INTO kept VALUES (2)")
    await connection.close()
    await provider.stop("rw")
    assert (await provider.status("ro")).state is State.ACTIVE
    await provider.stop("ro")
    assert (await provider.status("ro")).state is State.IDLE


async def test_a_restart_applies_other_limits(provider: LocalProvider, main: str) -> None:
    await provider.start("rw", main, SPEC)
    await provider.restart("rw", replace(SPEC, units=Decimal(1)))
    connection = await provider.admin("rw")
    assert await connection.fetchval("SHOW max_connections") == "200"
    await connection.close()


async def test_an_endpoint_serves_one_timeline_at_a_time(provider: LocalProvider, main: str) -> None:
    await provider.create_timeline("other", PROJECT, (main, At()))
    await provider.start("rw", main, SPEC)
    with pytest.raises(TimelineBusy):
        await provider.start("rw", "other", SPEC)
    await provider.stop("rw")
    await provider.start("rw", "other", SPEC)


@pytest.mark.parametrize(("is_used", "state"), [(True, State.ACTIVE), (False, State.IDLE)])
async def test_a_killed_server_is_started_again_if_somebody_was_connected(
    provider: LocalProvider, main: str, is_used: bool, state: State
) -> None:
    await provider.start("rw", main, SPEC)
    connection = await provider.admin("rw")
    await connection.execute("INSERT INTO public.kept VALUES (2)")
    drained(provider)
    async with provider.session("rw"):
        killed = pid_of(provider, main)
        if not is_used:
            provider.computes[main].sessions.clear()
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(30):
            events = provider.events()
            assert (await anext(events)).kind == "exited"
            if is_used:
                assert (await anext(events)).kind == "ready"
        async with provider.computes[main].lock:
            assert provider.computes[main].state is state
    await connection.close()
    assert await numbers(provider, main) == [1, 2]


async def test_servers_stay_when_the_gateway_goes_and_are_taken_over(root: Path) -> None:
    async with opened(root) as first:
        await first.create_timeline("main", PROJECT)
        address = await first.start("rw", "main", SHORT)
        connection = await asyncpg.connect(host=str(address.sockets), user="cloud_admin", database="postgres")
        pid = pid_of(first, "main")
    assert await connection.fetchval("SELECT 1") == 1
    async with opened(root) as second:
        assert (await second.status("rw")).state is State.ACTIVE
        assert pid_of(second, "main") == pid
        assert (await second.start("rw", "main", SHORT)) == address
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        await until_asleep(second, "rw")


async def test_a_server_that_died_while_nobody_watched_is_not_taken_for_another_process(root: Path) -> None:
    async with opened(root) as first:
        await first.create_timeline("main", PROJECT)
        await first.start("rw", "main", SPEC)
        pid = pid_of(first, "main")
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, pid, 0)
    file = root / "timelines" / "main" / "pgdata" / "postmaster.pid"
    # Its number is a stranger's by now: this test's own.
    file.write_text(file.read_text().replace(str(pid), str(os.getpid()), 1))
    async with opened(root) as second:
        assert (await second.status("rw")).state is State.IDLE
        await second.start("rw", "main", SPEC)
        await second.stop_all()


async def test_a_directory_belongs_to_one_process(root: Path, provider: LocalProvider) -> None:
    with pytest.raises(DirectoryUnusable, match="in use by another farebox"):
        async with opened(root):
            pass


async def test_a_directory_with_a_long_name_will_do(root: Path) -> None:
    async with opened(root / ("long" * 30)) as provider:
        await provider.create_timeline("main", PROJECT)
        address = await provider.start("rw", "main", SPEC)
        assert address.sockets.parent.parent == Path("/tmp")
        connection = await provider.admin("rw")
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        await provider.stop_all()
    assert not address.sockets.parent.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives each project a user")
async def test_projects_are_different_users_and_closed_to_each_other(
    provider: LocalProvider, main: str
) -> None:
    await provider.create_timeline("theirs", TimelineSpec("bank"))
    mine, theirs = await provider.start("a", main, SPEC), await provider.start("b", "theirs", SPEC)
    users = {provider.store.place(name).data.stat().st_uid for name in (main, "theirs")}
    assert len(users) == 2
    assert 0 not in users
    for closed in (mine.sockets, theirs.sockets, provider.store.place(main).data):
        assert closed.stat().st_mode & 0o777 == 0o700
    # Not even the server's own user is its superuser: what runs inside cannot come back as one.
    uid = mine.sockets.stat().st_uid
    psql = await asyncio.create_subprocess_exec(
        provider.store.programs / "psql", "-h", mine.sockets, "-U", "cloud_admin", "-l", "-d", "postgres",
        user=uid, group=uid, extra_groups=[], stderr=asyncio.subprocess.PIPE, cwd="/",
    )  # fmt: skip
    _, told = await psql.communicate()
    assert psql.returncode != 0
    assert b"Peer authentication failed" in told


async def test_a_session_that_wants_too_much_memory_fails_alone(provider: LocalProvider, main: str) -> None:
    await provider.start("rw", main, SPEC)
    greedy, modest = await provider.admin("rw"), await provider.admin("rw")
    await greedy.execute("SET work_mem = '4GB'")
    with pytest.raises(asyncpg.OutOfMemoryError):
        await greedy.fetchval(
            "SELECT length(array_agg(md5(g::text))::text) FROM generate_series(1, 8000000) g", timeout=60
        )
    assert await modest.fetchval("SELECT 1") == 1
    await greedy.close()
    await modest.close()
