"""A deleted project is taken back: by the operator, since whoever deleted it sees it no more.

Its rows were marked in one transaction, so that they are known by its time; its data is kept for a while.
"""

from datetime import timedelta
from uuid import UUID

import asyncpg
from asyncpg import Record
from pydantic import TypeAdapter, ValidationError

from control.postgres import branches, endpoints, operations, timelines
from control.projects import store
from control.projects.models import Slug
from gateway.kit.sql import Db, Pool
from gateway.ledger import events

SQL = store.SQL

# The sweep may be at work on what is as old as it waits for.
MARGIN = timedelta(hours=1)


class NotRestored(Exception):
    """The text is a sentence for the operator."""


async def deleted(db: Db) -> list[Record]:
    return await db.fetch(SQL.deleted, timelines.KEPT - MARGIN)


async def restore(pool: Pool, project_id: UUID, slug: str | None) -> str:
    """With its endpoints, roles and passwords, and the keys that were not revoked. Returns its slug."""
    async with pool.acquire() as db, db.transaction():
        row = await db.fetchrow(SQL.lock_deleted, project_id, timelines.KEPT - MARGIN)
        if row is None or row["deleted_at"] is None:
            raise NotRestored(f"no project {project_id} was deleted")
        if row["is_nobodys"]:
            raise NotRestored("its organization was deleted as well")
        if row["is_purged"]:
            raise NotRestored("its data was thrown away before its time")
        if row["is_late"] or not await db.fetchval(SQL.has_data, project_id, row["deleted_at"]):
            raise NotRestored("its data is gone, or was never made")
        chosen = row["slug"] if slug is None else proper(slug)
        try:
            await db.execute(SQL.restore, project_id, chosen)
        except asyncpg.UniqueViolationError:
            raise NotRestored(f"the slug {chosen} has been taken since: choose another one") from None
        await branches.undelete(db, project_id, row["deleted_at"])
        await endpoints.undelete(db, project_id, row["deleted_at"])
        await operations.cancel(db, project_id)
        told = {"project_id": str(project_id)}
        await events.emit(db, row["organization_id"], "project.restored", told, project_id)
    return str(chosen)


def proper(slug: str) -> str:
    try:
        return str(TypeAdapter(Slug).validate_python(slug))
    except ValidationError:
        raise NotRestored(f"{slug!r} is no slug: small letters, digits and dashes") from None
