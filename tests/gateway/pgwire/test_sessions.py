"""Sessions with a server of their own: waking, waiting, ending."""

import asyncio
import os
import signal
from collections.abc import Awaitable
from pathlib import Path

import asyncpg
import psycopg
import pytest

from control.computes.provider import State
from control.embedded import postgres
from gateway.kit import tasks
from gateway.pgwire.canceling import Cancels
from gateway.pgwire.computes import NotAllowed
from gateway.pgwire.pools import Pools
from gateway.pgwire.server import ENDING
from tests.gateway.pgwire.conftest import Stage, proxying
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def until_left(stage: Stage) -> None:
    async with asyncio.timeout(30):
        while stage.proxy.house.places.taken:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_fifty_at_once_start_one_server(stage: Stage) -> None:
    await stage.sleep()
    stage.proxy.house.waker.known.clear()
    stage.kept.asked.clear()
    clients = await asyncio.gather(*(stage.connect() for _ in range(40)))
    assert {await one.fetchval("SELECT 1") for one in clients} == {1}
    assert stage.kept.asked["wake"] == 1
    for one in clients:
        await one.close()


async def ask_once(stage: Stage) -> int:
    client = await stage.connect()
    answer: int = await client.fetchval("SELECT 1")
    await client.close()
    return answer


async def ask_late(stage: Stage, seconds: float) -> int:
    await asyncio.sleep(seconds)
    try:
        return await ask_once(stage)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        # It was in before the stop, and ended with the server. Nobody is turned away who comes after.
        return await ask_once(stage)


async def test_who_comes_while_it_stops_waits(stage: Stage) -> None:
    for _ in range(5):
        late = [ask_late(stage, n * 0.003) for n in range(10)]
        _, *answers = await asyncio.gather(stage.sleep(), *late)
        assert answers == [1] * 10


async def test_what_could_not_be_started_is_left_alone_for_a_while(stage: Stage) -> None:
    await stage.sleep()
    stage.proxy.house.waker.known.clear()
    stage.kept.asked.clear()
    stage.kept.failure = "the disk is full"
    try:
        for _ in range(5):
            with pytest.raises(asyncpg.CannotConnectNowError, match="the disk is full"):
                await stage.connect()
        assert stage.kept.asked["wake"] == 1
        with pytest.raises(asyncpg.CannotConnectNowError, match="the disk is full"):
            await stage.connect(pooled=True, user="app", server_settings={"TimeZone": "Asia/Tokyo"})
    finally:
        stage.kept.failure = None
        stage.proxy.house.waker.known.clear()
    await (await stage.connect()).close()


async def test_whoever_has_no_room_for_it_is_told_so_and_may_soon(stage: Stage) -> None:
    await stage.sleep()
    stage.proxy.house.waker.known.clear()
    wake, loop = stage.kept.wake, asyncio.get_running_loop()

    async def refuse(endpoint: object) -> object:
        raise NotAllowed("the plan Small has room for 100 compute_seconds, and they are used")

    stage.kept.wake = refuse  # type: ignore[method-assign, assignment]
    try:
        for pooled in (False, True, False):
            with pytest.raises(asyncpg.ConfigurationLimitExceededError, match="the plan Small has room"):
                await stage.connect(pooled=pooled)
            (known,) = stage.proxy.house.waker.known.values()
            # However often it was refused, it is asked again in a second.
            assert 0 < known.rests_until - loop.time() <= 1
            known.rests_until = 0
    finally:
        stage.kept.wake = wake  # type: ignore[method-assign]
    await (await stage.connect()).close()


async def test_a_client_that_hangs_up_while_it_waits_is_forgotten(stage: Stage) -> None:
    await stage.sleep()
    stage.proxy.house.waker.known.clear()
    held = asyncio.Event()
    wake = stage.kept.wake

    async def slow(endpoint: object) -> object:
        await held.wait()
        return await wake(stage.endpoint)

    stage.kept.wake = slow  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(TimeoutError):
            await stage.connect(timeout=0.2)
        await until_left(stage)
    finally:
        stage.kept.wake = wake  # type: ignore[method-assign]
        held.set()
    await (await stage.connect()).close()


async def stop_during_one(stage: Stage) -> None:
    watching = await stage.connect()
    await until(lambda: watching.fetchval(SLEEPERS))
    await watching.close()
    await stage.sleep()


@pytest.mark.parametrize("pooled", [False, True])
async def test_who_is_in_the_middle_of_something_is_told_of_a_stop(stage: Stage, pooled: bool) -> None:
    async with await psycopg.AsyncConnection.connect(stage.dsn(pooled=pooled)) as client:
        # In a transaction, so that a pooled one has its server by now.
        await client.execute("SELECT 1")
        told, _ = await asyncio.gather(
            client.execute("SELECT pg_sleep(60)"), stop_during_one(stage), return_exceptions=True
        )
        assert isinstance(told, psycopg.errors.AdminShutdown)


async def test_a_server_that_is_killed_is_there_for_the_next(stage: Stage) -> None:
    client = await stage.connect()
    pooled = await stage.connect(pooled=True)
    await pooled.execute("SELECT 1")
    place = stage.kept.provider.store.place(str(stage.endpoint.timeline_id))
    os.kill(int(postgres.pid_file(place.data)[0]), signal.SIGKILL)
    shared = stage.proxy.house.pools.pools
    async with asyncio.timeout(30):
        # Each of its processes finds out for itself that it is an orphan.
        while not client.is_closed() or any(pool.servers for pool in shared.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # Whoever shares servers noticed nothing.
    assert await pooled.fetchval("SELECT 2") == 2
    await pooled.close()
    await (await stage.connect()).close()


@pytest.mark.parametrize("pooled", [False, True])
async def test_a_slow_client_does_not_fill_the_memory(stage: Stage, pooled: bool) -> None:
    client = await stage.connect(pooled=pooled)
    (serving,) = stage.proxy.house.serving
    query = "SELECT repeat('x', 1000) FROM generate_series(1, 50000)"
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(client.fetch(query))
        await asyncio.sleep(0)
        client._transport.pause_reading()
        await asyncio.sleep(0.5)
        # A buffer of ours and the kernel's: not the 50 MB that it asked for.
        assert 0 < serving.session.moved[1] < 20_000_000
        client._transport.resume_reading()
    assert len(slow.result()) == 50_000
    await client.close()


async def test_what_moves_is_counted(stage: Stage) -> None:
    before = stage.kept.moved[stage.label]
    client = await stage.connect()
    assert len(await client.fetchval("SELECT repeat('x', 100000)")) == 100_000
    await client.close()
    await until_left(stage)
    assert 100_000 < stage.kept.moved[stage.label] - before < 110_000


SLEEPERS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


async def keep(work: Awaitable[int], answers: list[int]) -> None:
    answers.append(await work)


async def test_sessions_end_with_the_proxy_when_they_are_idle(stage: Stage) -> None:
    async with proxying(stage.kept, stage.root) as (proxy, port, pem):
        other = Stage(stage.kept, proxy, port, pem, stage.endpoint, stage.root)
        idle, pooled, busy = await other.connect(), await other.connect(pooled=True), await other.connect()
        crew = tasks.Crew()
        slow = busy.fetchval("SELECT 5 FROM pg_sleep(2)")
        answers: list[int] = []
        crew.start(keep(slow, answers))
        async with asyncio.timeout(30):
            while not (answers or await pooled.fetchval(SLEEPERS)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert answers == [5]
    assert idle.is_closed()
    assert pooled.is_closed()
    assert busy.is_closed()
    assert ENDING.sqlstate == "57P01"


async def test_a_request_to_cancel_finds_its_process(tmp_path: Path) -> None:
    here, there = Cancels(tmp_path), Cancels(tmp_path)
    there.pid += 1
    done = asyncio.Event()

    async def cancel() -> None:
        done.set()

    here.start()
    there.start()
    secret = there.issue(cancel, is_long=False)
    await here.cancel(there.pid, b"wron")
    assert not done.is_set()
    await here.cancel(there.pid, secret)
    async with asyncio.timeout(30):
        await done.wait()
    there.withdraw(secret)
    await here.cancel(999_999_999, secret)
    await here.close()
    await there.close()
    assert os.listdir(tmp_path) == []


async def test_a_new_password_is_another(stage: Stage) -> None:
    admin = await stage.admin()
    await admin.execute("CREATE ROLE other LOGIN PASSWORD 'first'")
    read = "SELECT rolpassword FROM pg_authid WHERE rolname = 'other'"
    name = (stage.endpoint.id, "other")
    stage.kept.verifiers[name] = await admin.fetchval(read)
    await (await stage.connect(user="other", password="first")).close()
    # Changed by SQL, and nobody told us: the server does not take what we took.
    await admin.execute("ALTER ROLE other PASSWORD 'second'")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await stage.connect(user="other", password="first")
    stage.kept.verifiers[name] = await admin.fetchval(read)
    await (await stage.connect(user="other", password="second")).close()
    await admin.execute("DROP ROLE other")
    del stage.kept.verifiers[name]
    await admin.close()


async def test_the_database_says_itself_what_is_wrong(stage: Stage) -> None:
    for pooled in (False, True):
        with pytest.raises(asyncpg.InvalidCatalogNameError, match='database "nothing" does not exist'):
            await stage.connect(pooled=pooled, database="nothing")


async def test_pools_that_nobody_uses_are_gone(stage: Stage) -> None:
    await (await stage.connect(pooled=True, server_settings={"IntervalStyle": "iso_8601"})).close()
    pools: Pools = stage.proxy.house.pools
    await until_left(stage)
    for pool in pools.pools.values():
        for server in pool.idle:
            server.idle_since -= 1000
    pools.look()
    async with asyncio.timeout(30):
        while any(pool.servers for pool in pools.pools.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    pools.look()
    assert pools.pools == {}
    assert (await stage.kept.provider.status(str(stage.endpoint.id))).state is State.ACTIVE
