"""What goes by itself: branches that expire, data that nobody points to; and what is missing comes."""

import structlog

from control.computes.provider import ComputeProvider
from control.postgres import branches, endpoints, following, operations, timelines
from gateway.kit.problem import Refusal
from gateway.kit.sql import Pool, Statements

SQL = Statements(__file__)

BATCH = 100

log = structlog.get_logger(__name__)


async def expire(pool: Pool) -> int:
    """Delete branches whose time has come, with their endpoints."""
    count = 0
    for row in await pool.fetch(SQL.expired, BATCH):
        async with pool.acquire() as db, db.transaction():
            await branches.lock_project(db, row["project_id"])
            if await db.fetchval(SQL.take_expired, row["id"]) is None:
                continue
            await endpoints.delete_of_branch(db, row["id"])
            await branches.delete(db, row["id"], None)
            await operations.enqueue(db, "delete_branch", row["project_id"], row["id"])
            count += 1
    return count


async def prune(pool: Pool) -> None:
    """Forget operations that ended months ago."""
    await pool.execute(SQL.prune)
    await pool.execute(following.SQL.prune_runs)


async def discard(pool: Pool, computes: ComputeProvider) -> int:
    """Delete data that no branch points to any more."""
    count = 0
    found = await timelines.orphans(pool)
    for row in await pool.fetch(SQL.settled_orphans, found):
        try:
            await timelines.discard(pool, computes, row["id"])
            count += 1
        except Refusal as error:
            # A server still runs on it, say; the next sweep is soon.
            log.warning("timeline.not_discarded", timeline_id=str(row["id"]), error=repr(error))
    return count
