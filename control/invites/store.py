from uuid import UUID

from asyncpg import Record

from control.api import permissions
from control.api.permissions import TO_V1
from control.invites.models import Invite, V1Invitation, V1Mine
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def every(db: Db, organization_id: UUID) -> list[Invite]:
    rows = await db.fetch(SQL.every, organization_id, None)
    return [Invite(**{name: row[name] for name in Invite.model_fields}) for row in rows]


async def every_v1(db: Db, organization_id: UUID, project_id: UUID | None) -> list[V1Invitation]:
    return [as_v1(row) for row in await db.fetch(SQL.every, organization_id, project_id)]


def as_v1(row: Record) -> V1Invitation:
    return V1Invitation(
        id=row["id"],
        email=row["email"],
        role=permissions.as_v1(row["built_in"], row["custom"] or ()),
        expires_at=row["expires_at"],
        accepted_at=row["accepted_at"],
        revoked_at=row["revoked_at"],
        created_at=row["created_at"],
    )


async def mine(db: Db, user_id: UUID) -> list[V1Mine]:
    rows = await db.fetch(SQL.mine, user_id)
    return [V1Mine(**{**dict(row), "role": TO_V1[row["role"]]}) for row in rows]


async def names(db: Db, user_id: UUID, organization_id: UUID, project_id: UUID | None) -> tuple[str, str]:
    """Who invites, and to what."""
    row = await db.fetchrow(SQL.names, user_id, organization_id, project_id)
    assert row is not None, "the actor was admitted there"
    return row["inviter"], row["what"]


async def member_with(db: Db, organization_id: UUID, project_id: UUID | None, email: str) -> str | None:
    """The name of the member with an address: of the project if one is given, else of the organization."""
    name: str | None = await db.fetchval(SQL.member_with, organization_id, project_id, email)
    return name
