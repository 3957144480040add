"""Compute and storage: whoever starts something asks first, and the answer goes by what was metered."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from config.plans import Plan, Quota
from control.metering import meters
from control.metering.meters import Reading
from control.quotas import headroom
from control.quotas.catalogue import id_of
from gateway.identify import QuotaExceeded
from gateway.kit import ids
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member
from tests.control.test_consumption import project

HARD = Plan(id="hard", name="Hard", quotas={"compute_seconds": 3600, "storage_bytes": 10**9})
SOFT = Plan(id="soft", name="Soft", quotas=HARD.quotas, soft=("compute_seconds", "storage_bytes"))
TINY = Plan(id="tiny", name="Tiny", quotas={"compute_seconds": 1})


async def computed(pool: Pool, project_id: UUID, seconds: int, units: int = 1) -> None:
    """Ran for so long until now, as whoever runs computes tells it."""
    endpoint, now = ids.new(), datetime.now(UTC)
    # In this month, on its first minutes too.
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = max(now - timedelta(seconds=seconds), month)
    async with pool.acquire() as db, db.transaction():
        assert await meters.started(db, project_id, endpoint, units, start)
        assert await meters.stopped(db, endpoint, start + timedelta(seconds=seconds))


async def asked(pool: Pool, plan: Plan, who: UUID, quota: Quota, adding: int = 1) -> None:
    async with pool.acquire() as db, db.transaction():
        await headroom.require(db, [plan], who, quota, adding=adding)


async def told(pool: Pool) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT type, payload ->> 'used' AS used FROM events WHERE type LIKE 'quota.%'")
    return [tuple(row) for row in rows]


async def test_a_hard_quota_of_compute_refuses_at_its_end(client: Client, pool: Pool, member: Member) -> None:
    who, project_id = member.id.organization_id, await project(client)
    await asked(pool, HARD, who, "compute_seconds")
    assert await told(pool) == []
    # Two units for so long are twice as many seconds.
    await computed(pool, project_id, 1450, units=2)
    await asked(pool, HARD, who, "compute_seconds")
    assert await told(pool) == [("quota.near", "2901")]
    await asked(pool, HARD, who, "compute_seconds", adding=700)
    with pytest.raises(QuotaExceeded, match="Hard has room for 3600 compute_seconds"):
        await asked(pool, HARD, who, "compute_seconds", adding=701)
    await computed(pool, project_id, 700)
    with pytest.raises(QuotaExceeded):
        await asked(pool, HARD, who, "compute_seconds")


async def test_a_soft_quota_of_compute_warns(client: Client, pool: Pool, member: Member) -> None:
    who, project_id = member.id.organization_id, await project(client)
    await computed(pool, project_id, 5000)
    await asyncio.gather(*(asked(pool, SOFT, who, "compute_seconds") for _ in range(4)))
    assert await told(pool) == [("quota.reached", "5001")]


async def test_storage_goes_by_the_bytes_that_were_metered(
    client: Client, pool: Pool, member: Member
) -> None:
    who, project_id, now = member.id.organization_id, await project(client), datetime.now(UTC)
    hours = (now - now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)) // timedelta(hours=1) + 1
    reading = Reading(ids.new(), project_id, "storage_byte_hours", 10**9 * hours, now)
    async with pool.acquire() as db, db.transaction():
        assert await meters.read(db, reading)
    await asked(pool, HARD, who, "storage_bytes", adding=0)
    with pytest.raises(QuotaExceeded):
        await asked(pool, HARD, who, "storage_bytes", adding=1)
    await asked(pool, SOFT, who, "storage_bytes", adding=10**9)


async def test_what_begins_anew_is_not_measured_by_the_plan_that_follows(
    client: Client, pool: Pool, member: Member
) -> None:
    who, project_id = member.id.organization_id, await project(client)
    later = datetime.now(UTC) + timedelta(days=1)
    await pool.execute(
        "INSERT INTO organization_plans"
        " (id, organization_id, plan_id, tier, plan_name, price_cents, started_at)"
        " VALUES ($1, $2, $3, 'tiny', 'Tiny', 0, $4)",
        ids.new(), who, id_of(TINY), later,
    )  # fmt: skip
    await computed(pool, project_id, 100)
    async with pool.acquire() as db, db.transaction():
        await headroom.require(db, [HARD, TINY], who, "compute_seconds")
