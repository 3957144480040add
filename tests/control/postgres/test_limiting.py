"""A plan's disk is what an organization's projects share."""

from uuid import UUID

import pytest

from config.plans import Plan
from control.computes import disks
from control.computes.local import LocalProvider
from control.computes.provider import ComputeUnavailable
from control.postgres import limiting, measuring
from control.postgres.limiting import STEP_BYTES, size_of
from control.postgres.running import Runner
from control.quotas import choices
from gateway.kit.sql import Pool
from tests.control.postgres.conftest import Project

MIB = 1 << 20
HARD = Plan(id="hard", name="Hard", quotas={"storage_bytes": 1000 * MIB})
SOFT = Plan(id="soft", name="Soft", quotas=HARD.quotas, soft=("storage_bytes",))


@pytest.mark.parametrize(
    ("plan", "own", "total", "size"),
    [
        (HARD, 0, 0, 1000 * MIB),
        (HARD, 900 * MIB, 900 * MIB, 1000 * MIB),
        (HARD, 100 * MIB, 100 * MIB + 1, 1000 * MIB - STEP_BYTES),  # the others' are rounded up
        (HARD, 100 * MIB, 1100 * MIB, 0),
        (HARD, 100 * MIB, 9100 * MIB, 0),
        (SOFT, 0, 0, None),  # what is beyond it is billed
        (Plan(id="free", name="Free"), 0, 0, None),
    ],
)
def test_a_project_may_take_what_the_others_leave(plan: Plan, own: int, total: int, size: int | None) -> None:
    assert size_of(plan, {"bytes": own, "total": total}) == size


async def test_the_provider_is_told_what_changed(
    pool: Pool, computes: LocalProvider, runner: Runner, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runner.drain()
    await measuring.measure(pool, computes)
    told: dict[UUID, int | None] = {}
    project_id = str(project.id)
    taken = int(await pool.fetchval("SELECT sum(logical_bytes + history_bytes) FROM timelines"))
    tight = Plan(id="tight", name="Tight", quotas={"storage_bytes": taken + MIB})
    assert await limiting.limit(pool, computes, [tight, SOFT], told) == 1
    assert disks.limits(computes.store) == {project_id: taken + MIB}
    assert await limiting.limit(pool, computes, [tight, SOFT], told) == 0
    # Nearly full is told once.
    events = await pool.fetch("SELECT type FROM events WHERE type LIKE 'quota.%'")
    assert [row[0] for row in events] == ["quota.near"]
    organization_id = await pool.fetchval("SELECT organization_id FROM projects")
    async with pool.acquire() as db, db.transaction():
        now = await db.fetchval("SELECT now()")
        await choices.change(db, organization_id, None, SOFT, now, now)

    async def away(project: str, size: int | None) -> None:
        raise ComputeUnavailable("nobody there")

    with monkeypatch.context() as patched:
        patched.setattr(LocalProvider, "limit_disk", staticmethod(away))
        assert await limiting.limit(pool, computes, [tight, SOFT], told) == 0
    assert await limiting.limit(pool, computes, [tight, SOFT], told) == 1
    assert disks.limits(computes.store) == {}
    await pool.execute("UPDATE projects SET deleted_at = now()")
    assert await limiting.limit(pool, computes, [tight, SOFT], told) == 0
    assert told == {}
