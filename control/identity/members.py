"""Who is in an organization or a project, and as what: the only writer of these tables.

Whoever changes members locks the organization first: of two owners who demote each other at once, the second
finds that the first is the last.
"""

from enum import Enum
from uuid import UUID

from control.api.permissions import BuiltIn
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


class Change(Enum):
    DONE = "done"
    ABSENT = "absent"
    LAST_OWNER = "last owner"


async def lock(db: Db, organization_id: UUID) -> None:
    await db.execute(SQL.lock, organization_id)


async def set_role(
    db: Db, organization_id: UUID, user_id: UUID, role: BuiltIn | None, role_id: UUID | None
) -> Change:
    """Exactly one of the roles: a built-in one, or a custom one's id. The organization is locked."""
    if await db.fetchval(SQL.set_role, organization_id, user_id, role, role_id) is not None:
        return Change.DONE
    return await why_not(db, organization_id, user_id)


async def remove(db: Db, organization_id: UUID, user_id: UUID) -> Change:
    if await db.fetchval(SQL.remove, organization_id, user_id) is not None:
        return Change.DONE
    return await why_not(db, organization_id, user_id)


async def why_not(db: Db, organization_id: UUID, user_id: UUID) -> Change:
    is_member = await db.fetchval(SQL.is_member, organization_id, user_id)
    return Change.LAST_OWNER if is_member else Change.ABSENT


async def add_owner(db: Db, organization_id: UUID, user_id: UUID) -> None:
    await db.execute(SQL.add_owner, organization_id, user_id)


async def set_project_role(db: Db, project_id: UUID, user_id: UUID, role: BuiltIn) -> bool:
    return await db.fetchval(SQL.set_project_role, project_id, user_id, role) is not None


async def remove_from_project(db: Db, project_id: UUID, user_id: UUID) -> bool:
    return await db.fetchval(SQL.remove_from_project, project_id, user_id) is not None
