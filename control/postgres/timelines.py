"""Timelines as rows, and the step that every operation which makes one begins with."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from control.computes.provider import HEAD, At, ComputeProvider, TimelineInfo, TimelineSpec
from control.postgres.running import NotYet
from gateway.kit import ids
from gateway.kit.problem import Refusal
from gateway.kit.sql import Db, Pool, Statements

SQL = Statements(__file__)

# As in the reference: whoever deletes a project by mistake has a month to say so to the operator.
KEPT = timedelta(days=30)


class SourceGone(Refusal):
    status, slug, title = 409, "source-gone", "What the branch was to be made of is not there"


@dataclass(frozen=True, slots=True)
class Source:
    timeline_id: UUID
    at: At = HEAD


async def insert(db: Db, project_id: UUID, source: Source | None) -> UUID:
    """One that is to be made: empty, or what another was at a point."""
    timeline_id = ids.new()
    parent: tuple[UUID | None, str | None, datetime | None] = (None, None, None)
    if source is not None:
        parent = (source.timeline_id, source.at.lsn, source.at.timestamp)
    await db.execute(SQL.insert, timeline_id, project_id, *parent)
    return timeline_id


async def wanted(pool: Pool, timeline_id: UUID) -> tuple[TimelineSpec, tuple[str, At] | None]:
    """What it is to be made of, once that is there."""
    row = await pool.fetchrow(SQL.source, timeline_id)
    assert row is not None, "timelines stay as rows"
    spec = TimelineSpec(str(row["project_id"]), row["history_retention_seconds"])
    if row["parent_timeline_id"] is None:
        return spec, None
    if row["parent_state"] == "creating":
        raise NotYet("the branch that it is made of is being made")
    if row["parent_state"] in ("failed", "deleted"):
        raise SourceGone(f"the branch that it was to be made of is {row['parent_state']}")
    at = At(lsn=row["parent_lsn"]) if row["parent_lsn"] else At(timestamp=row["parent_at"])
    return spec, (str(row["parent_timeline_id"]), at)


async def make(pool: Pool, computes: ComputeProvider, timeline_id: UUID) -> TimelineInfo:
    """Have the provider make it, once however often it is asked. The row says that it is ready later, when
    what it is for is.
    """
    return await computes.create_timeline(str(timeline_id), *await wanted(pool, timeline_id))


async def ready(db: Db, info: TimelineInfo, *, is_archived: bool = False, version: str | None = None) -> None:
    await db.execute(SQL.ready, UUID(info.id), info.parent_lsn, is_archived, version)
    await measured(db, info)


async def failed(db: Db, timeline_id: UUID) -> None:
    await db.execute(SQL.failed, timeline_id)


async def measured(db: Db, info: TimelineInfo) -> int:
    """As of now, so that no look at it asks the provider. Returns the bytes written since the last time."""
    sizes = info.head_lsn, info.bytes, info.history_bytes, info.horizon_lsn, info.horizon_at
    return int(await db.fetchval(SQL.measured, UUID(info.id), *sizes) or 0)


async def orphans(db: Db, project_id: UUID | None = None) -> list[UUID]:
    return [row["id"] for row in await db.fetch(SQL.orphans, project_id, KEPT)]


async def discard(pool: Pool, computes: ComputeProvider, timeline_id: UUID) -> None:
    """The data first: a row that is left is found again, data that is left is not."""
    await computes.delete_timeline(str(timeline_id))
    await pool.execute(SQL.deleted, timeline_id)


async def deleted_branch(db: Db, branch_id: UUID) -> Record:
    row = await db.fetchrow(SQL.deleted_branch, branch_id)
    assert row is not None, "branches stay as rows"
    return row


async def branches_ever(db: Db, project_id: UUID) -> list[UUID]:
    return [row["id"] for row in await db.fetch(SQL.branches_ever, project_id)]


async def due(db: Db, count: int) -> list[UUID]:
    return [row["id"] for row in await db.fetch(SQL.due, count)]


async def stored(db: Db) -> list[Record]:
    return await db.fetch(SQL.stored)


async def retention(db: Db, project_id: UUID) -> tuple[int, list[UUID]]:
    """For how many seconds history is to be kept, and of what."""
    rows = await db.fetch(SQL.retention, project_id)
    return (rows[0]["history_retention_seconds"] if rows else 0), [row["id"] for row in rows]
