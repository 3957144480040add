from uuid import UUID

from asyncpg import Record

from control.api import permissions
from control.members.models import Member, V1Member
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def every(db: Db, organization_id: UUID) -> list[Member]:
    rows = await db.fetch(SQL.every, organization_id)
    return [
        Member(
            id=row["user_id"],
            organization_id=organization_id,
            user_id=row["user_id"],
            email=row["email"],
            name=row["name"],
            role=row["role"] or row["custom_name"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


async def every_v1(db: Db, organization_id: UUID) -> list[V1Member]:
    return [as_v1(row) for row in await db.fetch(SQL.every, organization_id)]


async def of_project(db: Db, project_id: UUID) -> list[V1Member]:
    return [as_v1(row) for row in await db.fetch(SQL.of_project, project_id, None)]


async def in_project(db: Db, project_id: UUID, user_id: UUID) -> V1Member | None:
    row = await db.fetchrow(SQL.of_project, project_id, user_id)
    return as_v1(row) if row else None


def as_v1(row: Record) -> V1Member:
    return V1Member(
        user_id=row["user_id"],
        email=row["email"],
        name=row["name"],
        role=permissions.as_v1(row["role"], row["custom"] or ()),
        created_at=row["created_at"],
    )
