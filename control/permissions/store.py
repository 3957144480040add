from datetime import datetime
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.api.permissions import BUILT_IN, GRANTS, PURPOSES, BuiltIn, id_of
from control.permissions.models import NewRole, Role
from gateway.kit import ids
from gateway.kit.sql import Db, Statements
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)


class NameTaken(Exception):
    """Another role of the organization has this name."""


async def installed_at(db: Db) -> datetime:
    when = await db.fetchval(SQL.installed_at, PLATFORM)
    assert isinstance(when, datetime), "the first migration makes the platform's organization"
    return when


async def every(db: Db, organization_id: UUID) -> list[Role]:
    """The built-in ones first."""
    since = await installed_at(db)
    own = [shown(row) for row in await db.fetch(SQL.every, organization_id)]
    return [built_in(name, since) for name in BUILT_IN] + own


async def get(db: Db, organization_id: UUID, role_id: UUID) -> Role | None:
    for name in BUILT_IN:
        if id_of(name) == role_id:
            return built_in(name, await installed_at(db))
    row = await db.fetchrow(SQL.get, organization_id, role_id)
    return shown(row) if row else None


async def insert(db: Db, organization_id: UUID, new: NewRole) -> Role:
    granted = sorted(set(new.permissions))
    row = await db.fetchrow(SQL.insert, ids.new(), organization_id, new.name, new.description, granted)
    if row is None:
        raise NameTaken(new.name)
    return shown(row)


async def update(db: Db, organization_id: UUID, role_id: UUID, after: Role) -> Role | None:
    granted = sorted(set(after.permissions))
    try:
        row = await db.fetchrow(SQL.update, organization_id, role_id, after.name, after.description, granted)
    except asyncpg.UniqueViolationError:
        raise NameTaken(after.name) from None
    return shown(row) if row else None


async def delete(db: Db, organization_id: UUID, role_id: UUID) -> bool:
    """False when a member has it, or somebody who is invited will."""
    try:
        return await db.fetchval(SQL.delete, organization_id, role_id) is not None
    except asyncpg.ForeignKeyViolationError:
        # Given to somebody between the look and the deletion.
        return False


def built_in(name: BuiltIn, since: datetime) -> Role:
    return Role(
        id=id_of(name),
        name=name,
        description=PURPOSES[name],
        permissions=sorted(GRANTS[name]),
        is_built_in=True,
        created_at=since,
    )


def shown(row: Record) -> Role:
    return Role(**dict(row), is_built_in=False)
