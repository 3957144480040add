from datetime import date, datetime
from uuid import UUID

from asyncpg import Record

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def health(db: Db) -> Record:
    row = await db.fetchrow(SQL.health)
    assert row is not None, "it is a row of sums"
    return row


async def count_wrong_days(db: Db) -> int:
    return int(await db.fetchval(SQL.wrong_days))


async def usage(db: Db, organization_id: UUID, first: date, last: date) -> list[Record]:
    return await db.fetch(SQL.usage, organization_id, first, last)


async def readings(db: Db, endpoint_id: UUID, organization_id: UUID) -> list[Record]:
    return await db.fetch(SQL.readings, endpoint_id, organization_id)


async def transitions(db: Db, endpoint_id: UUID, organization_id: UUID) -> list[Record]:
    return await db.fetch(SQL.transitions, endpoint_id, organization_id)


async def subscription(db: Db, organization_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.subscription, organization_id)


async def at_polar(db: Db, organization_id: UUID, subscription_id: str | None) -> Record | None:
    """What it bought at Polar, as far as something was ever paid."""
    return await db.fetchrow(SQL.at_polar, organization_id, subscription_id)


async def is_shared(db: Db, customer_id: str, organization_id: UUID) -> bool:
    return bool(await db.fetchval(SQL.is_shared, customer_id, organization_id))


async def email(db: Db, user_id: UUID) -> str | None:
    found: str | None = await db.fetchval(SQL.email, user_id)
    return found


async def stored(db: Db, project_id: UUID, start: datetime, end: datetime) -> Record:
    row = await db.fetchrow(SQL.stored, project_id, start, end)
    assert row is not None, "a sum is always a row"
    return row
