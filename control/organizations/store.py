from uuid import UUID

from control.organizations.models import Organization
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def get(db: Db, organization_id: UUID) -> Organization | None:
    row = await db.fetchrow(SQL.get, organization_id)
    return Organization(**dict(row)) if row else None
