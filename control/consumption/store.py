from datetime import date
from uuid import UUID

from asyncpg import Record

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def by_month(
    db: Db, organization_id: UUID, project_id: UUID | None, first: date, last: date
) -> list[Record]:
    return await db.fetch(SQL.by_month, organization_id, project_id, first, last)
