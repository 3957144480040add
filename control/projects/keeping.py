"""What deleted projects keep: their data is there for a while, so that the operator can take one back.

It counts for what their organization may store, and of only so many it is kept. Whoever wants the room
throws it away.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from config.settings import Settings
from control.postgres import timelines
from control.projects import store
from control.projects.models import KeptProject
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.sql import Db
from gateway.ledger import events
from gateway.ledger.accounts import PLATFORM

SQL = store.SQL
# So many are named where nothing more can be made; the list has the others.
NAMED_MAX = 5
WAY_OUT = "Throw the data of one away for good by DELETE /organizations/default/deleted-projects/{id}"


async def kept(db: Db, organization_id: UUID) -> list[KeptProject]:
    return [shown(row) for row in await db.fetch(SQL.kept, organization_id, timelines.KEPT)]


def shown(row: Record) -> KeptProject:
    deleted_at: datetime = row["deleted_at"]
    return KeptProject(
        id=row["id"], name=row["name"], slug=row["slug"], deleted_at=deleted_at,
        kept_until=deleted_at + timelines.KEPT, storage_bytes=row["bytes"],
    )  # fmt: skip


async def require_room(db: Db, settings: Settings, organization_id: UUID) -> None:
    """Before a project is made or comes from elsewhere. Raises ``QuotaExceeded``.

    Whoever makes projects and deletes them again would otherwise fill the disk, within any quota.
    """
    if organization_id == PLATFORM:
        return
    found = await kept(db, organization_id)
    if len(found) >= settings.computes.deleted_projects_max:
        raise QuotaExceeded(
            f"{len(found)} deleted projects are kept for {timelines.KEPT.days} days, and no more than "
            f"{settings.computes.deleted_projects_max} are. {WAY_OUT}: {named(found)}"
        )
    plan = await headroom.plan_of(db, settings.plans, organization_id)
    stored = int(await db.fetchval(SQL.stored, organization_id))
    if not headroom.is_beyond(plan, "storage_bytes", stored + 1):
        return
    told = str(headroom.no_room(plan, "storage_bytes"))
    if total := sum(one.storage_bytes for one in found):
        told = f"{told}: deleted projects keep {total}. {WAY_OUT}: {named(found)}"
    raise QuotaExceeded(told)


def named(found: Sequence[KeptProject]) -> str:
    """The largest first, as few of them make room."""
    largest = sorted(found, key=lambda one: one.storage_bytes, reverse=True)[:NAMED_MAX]
    texts = [f"{one.slug} ({one.id}, {one.storage_bytes} bytes)" for one in largest]
    more = len(found) - len(largest)
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


async def purge(db: Db, project_id: UUID, organization_id: UUID | None = None) -> str | None:
    """Its slug; None when nothing is kept of such a project. The worker's next sweep deletes the data."""
    row = await db.fetchrow(SQL.purge, project_id, organization_id)
    if row is None:
        return None
    told = {"project_id": str(project_id)}
    await events.emit(db, row["organization_id"], "project.purged", told, project_id)
    return str(row["slug"])
