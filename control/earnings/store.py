from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def publisher(db: Db, organization_id: UUID, publisher_id: UUID) -> Record | None:
    """Deleted ones too: what they earned stays theirs."""
    return await db.fetchrow(SQL.publisher, organization_id, publisher_id)


async def by_asset(db: Db, organization_id: UUID, publisher_id: UUID, mode: str) -> Sequence[Record]:
    """To the last call, whether it is added up yet or not."""
    while True:
        counted_until = await db.fetchval(SQL.counted_until)
        rows = await db.fetch(SQL.by_asset, organization_id, publisher_id, mode, counted_until)
        # Added up between the two, which happens every few seconds and not twice in a moment.
        if all(row["is_current"] for row in rows):
            return rows
