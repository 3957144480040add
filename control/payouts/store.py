from collections.abc import Mapping, Sequence
from uuid import UUID

from asyncpg import Record

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def publisher(db: Db, organization_id: UUID, publisher_id: UUID) -> Record | None:
    """Deleted ones too: what they earned stays theirs."""
    return await db.fetchrow(SQL.publisher, organization_id, publisher_id)


async def asset(db: Db, organization_id: UUID, publisher_id: UUID, asset_id: UUID) -> Record | None:
    """One that the publisher accepts, or that its organization has earned."""
    return await db.fetchrow(SQL.asset, organization_id, publisher_id, asset_id)


async def earned(db: Db, organization_id: UUID, publisher_id: UUID, mode: str) -> Sequence[Record]:
    """The assets that the organization has earnings in, those that the publisher accepts first."""
    return await db.fetch(SQL.earned, organization_id, publisher_id, mode)


async def named(db: Db, publisher_id: UUID, key: UUID) -> UUID | None:
    found: UUID | None = await db.fetchval(SQL.named, publisher_id, key)
    return found


async def page(db: Db, publisher_id: UUID, mode: str, limit: int, offset: int) -> tuple[int, Sequence[UUID]]:
    rows = await db.fetch(SQL.page, publisher_id, mode, limit, offset)
    return int(await db.fetchval(SQL.count, publisher_id, mode)), [row["id"] for row in rows]


async def page_of_all(db: Db, state: str | None, limit: int, offset: int) -> tuple[int, Sequence[UUID]]:
    rows = await db.fetch(SQL.page_of_all, state, limit, offset)
    return int(await db.fetchval(SQL.count_all, state)), [row["id"] for row in rows]


async def assets(db: Db, asset_ids: Sequence[UUID]) -> Mapping[UUID, Record]:
    return {row["asset_id"]: row for row in await db.fetch(SQL.assets, list(asset_ids))}
