from uuid import UUID

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def projects_seen(db: Db, user_id: UUID, organization_id: UUID | None) -> list[UUID]:
    """Those that a user can see, or those of one organization."""
    return [row["id"] for row in await db.fetch(SQL.projects_seen, user_id, organization_id)]
