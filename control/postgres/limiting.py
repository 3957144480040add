"""Plans' disks: what an organization may store is how much each of its projects may take beside the others.

By what is there now, and not by the month's average, which is billed and which a disk knows nothing of.
Whoever runs the servers enforces it.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from uuid import UUID

import structlog
from asyncpg import Record

from config.plans import Plan
from control.computes.provider import ComputeProvider
from control.quotas import headroom
from control.quotas.catalogue import applying
from gateway.kit.problem import Refusal
from gateway.kit.sql import Pool, Statements
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)

# What the others take is rounded up to it, so that the provider is not told of each page that they write.
STEP_BYTES = 16 << 20

Told = MutableMapping[UUID, int | None]

log = structlog.get_logger(__name__)


async def limit(pool: Pool, computes: ComputeProvider, plans: Sequence[Plan], told: Told) -> int:
    """Tell the provider what changed since it was ``told``. Returns of how many projects."""
    rows = await pool.fetch(SQL.stored)
    known = {row["id"] for row in rows}
    for gone in told.keys() - known:
        del told[gone]
    count, last = 0, None
    for row in rows:
        plan = applying(plans, row["plan_id"])
        size = None if row["organization_id"] == PLATFORM else size_of(plan, row)
        if size is not None and row["organization_id"] != last:
            await warn(pool, plan, row)
        last = row["organization_id"]
        if row["id"] in told and told[row["id"]] == size:
            continue
        try:
            await computes.limit_disk(str(row["id"]), size)
        except Refusal as error:
            # Told again the next time.
            log.warning("project.not_limited", project_id=str(row["id"]), error=repr(error))
            continue
        told[row["id"]] = size
        count += 1
    return count


def size_of(plan: Plan, row: Mapping[str, int] | Record) -> int | None:
    """None for no limit: the plan names none, or bills what is beyond it."""
    quota = plan.quotas.get("storage_bytes")
    if quota is None or "storage_bytes" in plan.soft:
        return None
    others = -(-(row["total"] - row["bytes"]) // STEP_BYTES) * STEP_BYTES
    return max(0, quota - others)


async def warn(pool: Pool, plan: Plan, row: Record) -> None:
    """Once a month each, when it is nearly full and when it is: sessions learn only that they only read."""
    if headroom.is_near(plan, "storage_bytes", row["total"]):
        async with pool.acquire() as db, db.transaction():
            await headroom.lock(db, row["organization_id"])
            await headroom.warn(db, row["organization_id"], plan, "storage_bytes", row["total"])
