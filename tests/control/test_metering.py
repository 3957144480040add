"""Usage and meters, added up."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from control.metering import meters, rollups
from control.metering.meters import Reading
from gateway.kit import ids, sql
from gateway.kit.sql import Pool
from gateway.ledger import usage
from gateway.ledger.holds import Holds
from gateway.ledger.usage import Usage
from tests.gateway.conftest import Ledger, Seller, crowd, holds, ledger, seller

__all__ = ["crowd", "holds", "ledger", "seller"]

USED = "SELECT count(*), coalesce(sum(cost), 0)::numeric FROM usage_events"
IN_DAYS = "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(cost), 0)::numeric FROM usage_days"
IN_HOURS = "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(cost), 0)::numeric FROM usage_hours"
CHARGED = """
SELECT coalesce(sum(amount), 0)::numeric FROM entries JOIN transfers ON transfers.id = transfer_id
WHERE amount > 0 AND kind = 'charge'
"""


async def sums(pool: Pool) -> set[tuple[int, int]]:
    """Of usage, of days and of hours: one pair while they agree."""
    rows = [await pool.fetchrow(one) for one in (USED, IN_DAYS, IN_HOURS)]
    return {(row[0], row[1]) for row in rows if row is not None}


def free(seller: Seller, organization_id: UUID | None = None) -> Usage:
    return Usage(
        ids.new(), seller.publisher_id, organization_id, None, "free", "GET", "/x", "upstream_failed", 500
    )


async def test_days_and_hours_are_usage_and_the_ledger(
    pool: Pool, crowd: Pool, ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    owner = await ledger.organization()
    await ledger.deposit(owner, 10_000)

    async def call(cost: int) -> None:
        opening = seller.opening(owner, 20)
        await holds.open(opening)
        await holds.post(seller.posting(opening.call_id, cost, fee=cost // 10))

    async def roll_up_now_and_then() -> None:
        for _ in range(20):
            await rollups.roll_up(pool)
            await asyncio.sleep(0.005)

    await asyncio.gather(
        roll_up_now_and_then(),
        roll_up_now_and_then(),
        *(call(cost % 20) for cost in range(200)),
        *(usage.record(crowd, [free(seller), free(seller, owner)]) for _ in range(20)),
    )
    await rollups.roll_up(pool)
    expected = sum(cost % 20 for cost in range(200))
    assert await sums(pool) == {(240, expected)}
    assert await pool.fetchval(CHARGED) == expected


async def test_a_row_that_commits_late_is_counted_when_it_is_there(pool: Pool, seller: Seller) -> None:
    async with pool.acquire() as slow, slow.transaction():
        await usage.record(slow, [free(seller)])
        await usage.record(pool, [free(seller)])
        # The second one is younger than a transaction under way, so both wait for it.
        assert await rollups.roll_up(pool) == 0
    assert await rollups.roll_up(pool) == 2
    assert await rollups.roll_up(pool) == 0
    assert await sums(pool) == {(2, 0)}


async def test_a_call_is_of_the_hour_in_which_it_was_made(pool: Pool, seller: Seller) -> None:
    made = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
    for one in (made, made + timedelta(seconds=1)):
        event = free(seller)
        await usage.record(pool, [event])
        await pool.execute("UPDATE usage_events SET created_at = $2 WHERE call_id = $1", event.call_id, one)
    await rollups.roll_up(pool)
    days = await pool.fetch("SELECT day::text AS day, calls FROM usage_days ORDER BY day")
    assert [(row["day"], row["calls"]) for row in days] == [("2026-03-31", 1), ("2026-04-01", 1)]
    hours = await pool.fetch("SELECT hour FROM usage_hours ORDER BY hour")
    assert [row["hour"].hour for row in hours] == [23, 0]


@pytest.mark.parametrize("step", ["add", "mark"])
async def test_a_crash_between_steps_counts_nothing_twice(
    pool: Pool, seller: Seller, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rollups.roll_up(pool)
    await usage.record(pool, [free(seller), free(seller)])
    with monkeypatch.context() as patch:
        patch.setitem(rollups.SQL.by_name, step, "this is no statement")
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await rollups.roll_up(pool)
    assert await pool.fetchval("SELECT count(*) FROM usage_days") == 0
    assert await rollups.roll_up(pool) == 2
    assert await sums(pool) == {(2, 0)}


async def blocked(pool: Pool) -> int:
    """The process that waits for a lock on the days, once there is one."""
    found: int | None = await pool.fetchval(
        "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'usage_days'::regclass"
    )
    if found is None:
        await asyncio.sleep(0.01)
        return await blocked(pool)
    return found


async def test_a_connection_that_is_killed_in_the_middle_counts_nothing(
    pool: Pool, seller: Seller, server: str, database: str
) -> None:
    await rollups.roll_up(pool)
    await usage.record(pool, [free(seller)])

    async def work() -> None:
        async with sql.create_pool(server, database=database, size_max=2) as own:
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                await rollups.roll_up(own)

    async def kill() -> None:
        async with pool.acquire() as blocker, blocker.transaction():
            # The job waits for this lock with its rows half written.
            await blocker.execute("LOCK TABLE usage_days IN EXCLUSIVE MODE")
            await pool.execute("SELECT pg_terminate_backend($1)", await blocked(pool))

    await asyncio.gather(kill(), work())
    assert await sums(pool) == {(1, 0), (0, 0)}
    assert await rollups.roll_up(pool) == 1
    assert await sums(pool) == {(1, 0)}


async def test_a_database_restored_into_another_cluster_is_counted_anew(pool: Pool, seller: Seller) -> None:
    await usage.record(pool, [free(seller), free(seller)])
    await rollups.roll_up(pool)
    # As a restore finds it: numbers that this cluster has not come to, and another cluster's mark.
    await pool.execute("UPDATE usage_events SET written_in = 1::bigint << 40")
    await pool.execute("UPDATE rollup_marks SET cluster = 1, next_in = (1::bigint << 40) + 1")
    await usage.record(pool, [free(seller)])
    await rollups.roll_up(pool)
    await usage.record(pool, [free(seller)])
    await rollups.roll_up(pool)
    assert await sums(pool) == {(4, 0)}


async def test_what_was_there_before_the_first_time_is_counted(pool: Pool, seller: Seller) -> None:
    await usage.record(pool, [free(seller)])
    assert await rollups.age_seconds(pool) is None
    assert await rollups.roll_up(pool) == 1
    assert await rollups.age_seconds(pool) == 0


@pytest.fixture
async def project(pool: Pool, ledger: Ledger) -> UUID:
    project_id = uuid4()
    user_id = await pool.fetchval("SELECT id FROM users LIMIT 1")
    await pool.execute(
        "INSERT INTO projects (id, organization_id, name, slug, region, created_by) "
        "VALUES ($1, $2, 'p', 'p', 'local', $3)",
        project_id, await ledger.organization(), user_id,
    )  # fmt: skip
    return project_id


async def metered(pool: Pool) -> list[tuple[Any, ...]]:
    found = await pool.fetch(
        "SELECT meter, compute_units, day::text AS day, quantity FROM meter_days ORDER BY 1, 2, 3"
    )
    return [tuple(row) for row in found]


NIGHT = datetime(2026, 3, 31, 23, 59, 30, 700_000, tzinfo=UTC)


async def test_a_compute_is_counted_by_the_second_and_the_day(pool: Pool, project: UUID) -> None:
    endpoint = uuid4()
    assert await meters.started(pool, project, endpoint, 2, NIGHT)
    assert not await meters.started(pool, project, endpoint, 2, NIGHT)
    for seconds in (0.2, 10, 45.9, 45.95):
        await asyncio.gather(*(meters.advance(pool, NIGHT + timedelta(seconds=seconds)) for _ in range(3)))
    assert await meters.resized(pool, endpoint, 4, NIGHT + timedelta(seconds=50))
    assert await meters.stopped(pool, endpoint, NIGHT + timedelta(seconds=60))
    assert not await meters.stopped(pool, endpoint, NIGHT + timedelta(seconds=60))
    await meters.advance(pool, NIGHT + timedelta(hours=1))
    assert await metered(pool) == [
        ("active_seconds", 2, "2026-03-31", 30),
        ("active_seconds", 2, "2026-04-01", 20),
        ("active_seconds", 4, "2026-04-01", 10),
    ]


async def test_four_quarters_of_a_unit_are_one(pool: Pool, project: UUID) -> None:
    quarter, mixed = Decimal("0.25"), uuid4()
    for endpoint in (uuid4(), uuid4()):
        assert await meters.started(pool, project, endpoint, quarter, NIGHT)
        assert await meters.stopped(pool, endpoint, NIGHT + timedelta(seconds=20))
    assert await meters.started(pool, project, mixed, quarter, NIGHT)
    assert await meters.resized(pool, mixed, Decimal("1.5"), NIGHT + timedelta(seconds=20))
    assert await meters.stopped(pool, mixed, NIGHT + timedelta(seconds=29))
    found = await pool.fetch(
        "SELECT compute_units, sum(quantity)::int, sum(milli_unit_seconds)::int FROM meter_days "
        "GROUP BY 1 ORDER BY 1"
    )
    # Sizes are told apart by whole units, and the time of a quarter is a quarter of it.
    assert [tuple(row) for row in found] == [(1, 60, 15_000), (2, 9, 13_500)]


async def test_what_an_older_process_counts_is_of_whole_units(pool: Pool, project: UUID) -> None:
    endpoint = uuid4()
    assert await meters.started(pool, project, endpoint, Decimal("0.25"), NIGHT)
    await pool.execute(
        "INSERT INTO meter_days (organization_id, project_id, meter, compute_units, day, quantity) "
        "SELECT organization_id, id, 'active_seconds', 1, '2026-03-31', 100 FROM projects WHERE id = $1",
        project,
    )
    await meters.advance(pool, NIGHT + timedelta(seconds=20))
    assert await pool.fetchval("SELECT milli_unit_seconds::int FROM meter_days") == 105_000
    await pool.execute("UPDATE compute_runs SET milli_units = NULL")
    await meters.advance(pool, NIGHT + timedelta(seconds=24))
    assert await pool.fetchval("SELECT milli_unit_seconds::int FROM meter_days") == 109_000


async def test_a_reading_counts_once(pool: Pool, project: UUID) -> None:
    reading = Reading(uuid4(), project, "egress_bytes", 1000, NIGHT)
    told = await asyncio.gather(*(meters.read(pool, reading) for _ in range(5)))
    assert sorted(told) == [False] * 4 + [True]
    assert await meters.read(pool, Reading(uuid4(), project, "egress_bytes", 1, NIGHT))
    assert await metered(pool) == [("egress_bytes", 0, "2026-03-31", 1001)]


async def test_what_is_new_is_found_without_reading_what_is_old(pool: Pool) -> None:
    async with pool.acquire() as db, db.transaction():
        await db.execute("SET LOCAL enable_seqscan = off")
        plan = await db.fetch("EXPLAIN SELECT FROM usage_events WHERE written_in >= 1 AND written_in < 2")
    assert "usage_events_written_in" in "\n".join(row[0] for row in plan)


async def test_an_ordinary_role_may_ask_which_cluster_this_is(pool: Pool) -> None:
    may = await pool.fetchval("SELECT has_function_privilege('public', 'pg_control_system()', 'EXECUTE')")
    assert may
