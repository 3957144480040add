"""Plans' compute: what an organization has used up is not woken, and what runs of it is stopped.

Its clients are told 57P01 by their servers, as at any stop, and why when they come again.
"""

from collections.abc import Sequence
from uuid import UUID

import structlog

from config.plans import Plan
from control.computes.provider import ComputeProvider
from control.postgres import endpoints
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.problem import Refusal
from gateway.kit.sql import Pool, Statements

SQL = Statements(__file__)

log = structlog.get_logger(__name__)


async def stop(pool: Pool, computes: ComputeProvider, plans: Sequence[Plan]) -> int:
    """Of organizations that could wake nothing now. Returns how many endpoints."""
    if not any("compute_seconds" in plan.quotas and "compute_seconds" not in plan.soft for plan in plans):
        return 0
    count = 0
    for row in await pool.fetch(SQL.owners):
        try:
            await headroom.require_unspent(pool, plans, row["organization_id"], "compute_seconds")
        except QuotaExceeded as error:
            count += await stop_all(pool, computes, row["organization_id"], str(error))
    return count


async def stop_all(pool: Pool, computes: ComputeProvider, organization_id: UUID, reason: str) -> int:
    count = 0
    for row in await pool.fetch(SQL.running, organization_id):
        told = {
            "organization_id": str(organization_id), "project_id": str(row["project_id"]),
            "endpoint_id": str(row["id"]), "reason": reason,
        }  # fmt: skip
        try:
            await computes.stop(str(row["id"]))
        except Refusal as error:
            # Whoever runs it is away, say; the next look is soon.
            log.warning("endpoint.not_stopped_for_quota", **told, error=repr(error))
            continue
        await endpoints.become(pool, row["id"], "idle")
        log.warning("endpoint.stopped_for_quota", **told)
        count += 1
    return count
