"""What a role or a member is granted, for operations that give roles to others."""

from dataclasses import dataclass
from typing import TypeGuard
from uuid import UUID

from control.api import access
from control.api.permissions import BUILT_IN, BuiltIn, id_of
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Grant:
    """A built-in role, or a custom one with its id."""

    role: BuiltIn | None
    role_id: UUID | None
    name: str
    permissions: frozenset[str]


async def by_name(db: Db, organization_id: UUID, name: str) -> Grant | None:
    if is_built_in(name):
        return Grant(name, None, name, access.granted(organization_id, name, None))
    return await custom(db, organization_id, None, name)


async def by_id(db: Db, organization_id: UUID, role_id: UUID) -> Grant | None:
    for name in BUILT_IN:
        if id_of(name) == role_id:
            return await by_name(db, organization_id, name)
    return await custom(db, organization_id, role_id, None)


async def custom(db: Db, organization_id: UUID, role_id: UUID | None, name: str | None) -> Grant | None:
    row = await db.fetchrow(SQL.find_role, organization_id, role_id, name)
    if row is None:
        return None
    return Grant(None, row["id"], row["name"], access.granted(organization_id, None, row["permissions"]))


async def of_member(db: Db, organization_id: UUID, user_id: UUID) -> frozenset[str] | None:
    """None for somebody who is no member."""
    row = await db.fetchrow(SQL.find_member, organization_id, user_id)
    return access.granted(organization_id, row["role"], row["custom"]) if row else None


def is_built_in(name: str) -> TypeGuard[BuiltIn]:
    return name in BUILT_IN
