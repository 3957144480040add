"""Timelines as rows, and the step that every operation which makes one begins with."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from control.computes.provider import HEAD, At, ComputeProvider, TimelineInfo, TimelineSpec
from control.postgres.running import NotYet
from gateway.kit import ids
from gateway.kit.problem import Refusal
from gateway.kit.sql import Db, Pool, Statements

SQL = Statements(__file__)


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


async def make(pool: Pool, computes: ComputeProvider, timeline_id: UUID) -> TimelineInfo:
    """Have the provider make it, once however often it is asked. The row says that it is ready later, when
    what it is for is.
    """
    row = await pool.fetchrow(SQL.source, timeline_id)
    assert row is not None, "timelines stay as rows"
    source = None
    if row["parent_timeline_id"] is not None:
        if row["parent_state"] == "creating":
            raise NotYet("the branch that it is made of is being made")
        if row["parent_state"] in ("failed", "deleted"):
            raise SourceGone(f"the branch that it was to be made of is {row['parent_state']}")
        at = At(lsn=row["parent_lsn"]) if row["parent_lsn"] else At(timestamp=row["parent_at"])
        source = str(row["parent_timeline_id"]), at
    spec = TimelineSpec(str(row["project_id"]), row["history_retention_seconds"])
    return await computes.create_timeline(str(timeline_id), spec, source)


async def ready(db: Db, info: TimelineInfo, *, is_archived: bool = False) -> None:
    await db.execute(SQL.ready, UUID(info.id), info.parent_lsn, is_archived)
    await measured(db, info)


async def failed(db: Db, timeline_id: UUID) -> None:
    await db.execute(SQL.failed, timeline_id)


async def measured(db: Db, info: TimelineInfo) -> None:
    """As of now, so that no look at it asks the provider."""
    sizes = info.head_lsn, info.bytes, info.history_bytes, info.horizon_lsn, info.horizon_at
    await db.execute(SQL.measured, UUID(info.id), *sizes)
