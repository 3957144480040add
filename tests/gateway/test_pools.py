"""A database that falls silent keeps nobody for longer than it may."""

import asyncio
import time
from collections import UserList, deque
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
import pytest

from gateway.kit import pools, sql
from gateway.kit.groups import Group
from gateway.kit.sql import OUTAGES, Pool
from tests.faults import FaultProxy, between

SIZE = 3
# Far more than it takes on a machine that is busy, and less than the ten seconds that are shortened below.
SECONDS_ENOUGH = 8


@pytest.fixture
async def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultProxy]:
    monkeypatch.setattr(pools, "TIMEOUT_SECONDS", 1)
    monkeypatch.setattr(pools, "ACQUIRE_SECONDS", 0.5)
    async with between(f"{server.partition('host=')[2]}/.s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: FaultProxy, database: str) -> AsyncIterator[Pool]:
    """A pool whose connections, all of them open, pass through the proxy."""
    dsn = f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}"
    async with sql.create_pool(dsn, size_max=SIZE) as pool:
        await asyncio.gather(*(pool.fetchval("SELECT 1 FROM pg_sleep(0.1)") for _ in range(SIZE)))
        yield pool


async def seconds_of(work: object) -> float:
    begin = time.monotonic()
    with pytest.raises(OUTAGES):
        await work  # type: ignore[misc]
    return time.monotonic() - begin


async def test_statements_and_those_who_wait_for_a_connection_end(proxy: FaultProxy, far: Pool) -> None:
    proxy.break_by("blackhole")
    took = await asyncio.gather(*(seconds_of(far.fetchval("SELECT 1")) for _ in range(3 * SIZE)))
    # 1 for the statement or 0.5 for a connection, and 1 for giving it back.
    assert max(took) < SECONDS_ENOUGH
    await proxy.heal()
    assert await far.fetchval("SELECT 1") == 1


async def test_one_dead_connection_condemns_the_others(proxy: FaultProxy, far: Pool) -> None:
    proxy.lose_all()
    assert await seconds_of(far.fetchval("SELECT 1")) < SECONDS_ENOUGH
    # On one of the others a statement would wait, and fail.
    assert await asyncio.gather(*(far.fetchval("SELECT 1") for _ in range(SIZE))) == [1] * SIZE


async def test_a_statement_that_is_cancelled_leaves_its_connection_soon(proxy: FaultProxy, far: Pool) -> None:
    proxy.break_by("blackhole")
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await far.fetchval("SELECT 1")
    assert time.monotonic() - begin < SECONDS_ENOUGH


async def test_a_silent_pool_can_be_closed(proxy: FaultProxy, far: Pool) -> None:
    proxy.break_by("blackhole")
    begin = time.monotonic()
    await far.close()
    assert time.monotonic() - begin < SECONDS_ENOUGH


async def test_the_server_ends_what_a_vanished_gateway_began(far: Pool) -> None:
    assert await far.fetchval("SHOW statement_timeout") == "15s"
    assert await far.fetchval("SHOW idle_in_transaction_session_timeout") == "15s"


@pytest.mark.parametrize(("patience_seconds", "outcome"), [(0.0, "away"), (2.0, "done")])
async def test_a_patient_group_waits_for_a_database_that_starts_again(
    patience_seconds: float, outcome: str
) -> None:
    back_at = time.monotonic() + 0.5

    async def run(items: Sequence[int]) -> Sequence[str]:
        if time.monotonic() < back_at:
            raise ConnectionRefusedError
        return ["done" for _ in items]

    group: Group[int, str] = Group(run, patience_seconds=patience_seconds)
    try:
        found = await group.add(1)
    except ConnectionRefusedError:
        found = "away"
    assert found == outcome
    await group.close()


@pytest.mark.parametrize(
    "made", [list, tuple, set, frozenset, deque, lambda some: dict.fromkeys(some).keys()]
)
async def test_whatever_holds_values_is_an_array(pool: Pool, made: Callable[[list[str]], object]) -> None:
    assert sorted(await pool.fetchval("SELECT $1::text[]", made(["one", "two"]))) == ["one", "two"]


async def test_a_text_or_an_object_is_not_an_array(pool: Pool) -> None:
    assert await pool.fetchval("SELECT cardinality($1::text[])", [["one", "two"], ["three", "four"]]) == 4
    for other in "one", b"one", {"one": 1}:
        with pytest.raises(asyncpg.DataError):
            await pool.fetchval("SELECT $1::text[]", other)


async def test_the_question_is_put_to_types(pool: Pool) -> None:
    """asyncpg's own, to abstract classes, would take this one: it is asked no more, by whatever release."""
    with pytest.raises(asyncpg.DataError):
        await pool.fetchval("SELECT $1::text[]", UserList(["one"]))
