from typing import Any
from uuid import UUID

from gateway.kit.money import millionths
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def address(db: Db, organization_id: UUID) -> str:
    return await db.fetchval(SQL.address, organization_id) or ""


async def balances(db: Db, organization_id: UUID, mode: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await db.fetch(SQL.balances, organization_id, mode)]


async def purchases(db: Db, organization_id: UUID, mode: str) -> int:
    """What was bought by card, in millionths of a dollar."""
    rows = await db.fetch(SQL.purchases, organization_id, mode)
    return sum(millionths(row["bought"], row["decimals"]) for row in rows)


async def given(db: Db, organization_id: UUID, mode: str) -> dict[str, int]:
    """What is left of grants, by why they were given, in millionths of a dollar."""
    found: dict[str, int] = {}
    for row in await db.fetch(SQL.given, organization_id, mode):
        found[row["reason"]] = found.get(row["reason"], 0) + millionths(row["amount"], row["decimals"])
    return found


async def is_seller(db: Db, organization_id: UUID) -> bool:
    return bool(await db.fetchval(SQL.sells, organization_id))


async def owner_of(db: Db, wallet: str) -> UUID | None:
    owner: UUID | None = await db.fetchval(SQL.owner_of, wallet)
    return owner


async def primary_asset(db: Db, publisher_id: UUID) -> UUID | None:
    """None for a publisher that is not on sale."""
    found: UUID | None = await db.fetchval(SQL.primary_asset, publisher_id)
    return found


async def is_recoverable(db: Db, organization_id: UUID) -> bool:
    return bool(await db.fetchval(SQL.is_recoverable, organization_id))
