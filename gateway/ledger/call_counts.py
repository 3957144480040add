"""How many calls a caller made of a publisher in a month, for prices that depend on it."""

from uuid import UUID

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def count(db: Db, publisher_id: UUID, organization_id: UUID) -> int:
    """Count one more call, and return which of the month it is: no two calls are the same one."""
    return int(await db.fetchval(SQL.count, publisher_id, organization_id))
