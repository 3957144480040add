import secrets
import string
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.projects.models import DeletedProject, Project, V1Project
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

SLUG_LENGTH = 12


class SlugTaken(Exception):
    """Another project has this slug."""


async def insert(
    db: Db, organization_id: UUID, name: str, slug: str | None, region: str, created_by: UUID
) -> Record:
    """The new project's ``id`` and ``slug``."""
    made = await db.fetchrow(
        SQL.insert, ids.new(), organization_id, name, slug or made_up_slug(), region, created_by
    )
    if made is None:
        raise SlugTaken(slug)
    return made


def made_up_slug() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(SLUG_LENGTH))


async def show(db: Db, project_id: UUID) -> Record:
    row = await db.fetchrow(SQL.show, project_id)
    assert row is not None, "whoever asks was admitted to it"
    return row


async def page(db: Db, organization_id: UUID, limit: int, offset: int) -> tuple[int, list[Record]]:
    total = int(await db.fetchval(SQL.count, organization_id))
    return total, await db.fetch(SQL.page, organization_id, limit, offset)


async def seen_by(db: Db, user_id: UUID) -> list[Record]:
    return await db.fetch(SQL.seen_by, user_id)


async def lock(db: Db, project_id: UUID) -> dict[str, Any] | None:
    """What can be changed of it."""
    row = await db.fetchrow(SQL.lock, project_id)
    return dict(row) if row else None


async def update(db: Db, project_id: UUID, after: Mapping[str, Any]) -> None:
    """``after`` is what ``lock`` returned, with the changes."""
    try:
        await db.execute(SQL.update, project_id, *after.values())
    except asyncpg.UniqueViolationError:
        raise SlugTaken(after["slug"]) from None


async def delete(db: Db, project_id: UUID, user_id: UUID) -> DeletedProject | None:
    row = await db.fetchrow(SQL.delete, project_id, user_id)
    return DeletedProject(**dict(row)) if row else None


async def size(db: Db, project_id: UUID) -> int:
    return int(await db.fetchval(SQL.size, project_id))


def as_root(row: Record) -> Project:
    return Project(
        tenant_id=row["id"], **{name: row[name] for name in row.keys() & Project.model_fields.keys()}
    )


def as_v1(row: Record, default: str) -> V1Project:
    """``default`` is the plan of whoever chose none."""
    return V1Project(
        id=row["id"],
        slug=row["slug"],
        name=row["name"],
        org_id=row["organization_id"],
        org_name=row["org_name"],
        org_personal=row["org_personal"],
        region=row["region"],
        tier=row["tier"] or default,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
    )
