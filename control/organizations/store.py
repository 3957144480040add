from uuid import UUID

from control.organizations.models import Organization
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def every(db: Db, user_id: UUID, only: UUID | None) -> list[Organization]:
    """Those that a user is a member of, their personal one first."""
    return [Organization(**dict(row)) for row in await db.fetch(SQL.every, user_id, only)]


async def get(db: Db, organization_id: UUID) -> Organization | None:
    row = await db.fetchrow(SQL.get, organization_id)
    return Organization(**dict(row)) if row else None
