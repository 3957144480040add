from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from asyncpg import Record

from control.wallet.models import Transaction
from gateway.kit import money
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

SOURCES = {
    "charge": "usage",
    "deposit": "onchain_deposit",
    "payout": "payout",
    "refund": "refund",
    "slash": "penalty",
}


@dataclass(frozen=True, slots=True)
class Span:
    """Whose history, in which money, and which part of it."""

    organization_id: UUID
    mode: Literal["live", "test"]
    is_usage_included: bool
    start: datetime | None
    end: datetime | None


async def address(db: Db, organization_id: UUID) -> str:
    return await db.fetchval(SQL.address, organization_id) or ""


async def balances(db: Db, organization_id: UUID, mode: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await db.fetch(SQL.balances, organization_id, mode)]


async def lines(
    db: Db, span: Span, after: tuple[datetime, UUID] | None, limit: int, offset: int
) -> list[Transaction]:
    """The newest first; ``after`` is the last line of the page before."""
    rows = await db.fetch(
        SQL.lines, span.organization_id, span.mode, span.is_usage_included, span.start, span.end,
        *(after or (None, None)), limit, offset,
    )  # fmt: skip
    return [line(row) for row in rows]


async def count_lines(db: Db, span: Span) -> int:
    return int(
        await db.fetchval(
            SQL.count_lines, span.organization_id, span.mode, span.is_usage_included, span.start, span.end
        )
    )


def line(row: Record) -> Transaction:
    amount, calls = row["amount"], row["call_count"]
    description = row["description"]
    if row["kind"] == "charge" and calls > 1:
        description = f"{calls} calls to {row['publisher_name']} on {row['created_at']:%Y-%m-%d}"
    return Transaction(
        id=row["id"],
        direction="credit" if amount > 0 else "debit",
        source=SOURCES[row["kind"]],
        amount_atomic=abs(amount),
        amount_usd=money.to_text(abs(amount), row["decimals"]),
        asset_id=row["asset_id"],
        asset_symbol=row["symbol"],
        description=description,
        publisher_id=row["publisher_id"],
        publisher_name=row["publisher_name"],
        call_count=calls if row["kind"] == "charge" else 0,
        created_at=row["created_at"],
    )


async def is_seller(db: Db, organization_id: UUID) -> bool:
    return bool(await db.fetchval(SQL.sells, organization_id))


async def owner_of(db: Db, wallet: str) -> UUID | None:
    owner: UUID | None = await db.fetchval(SQL.owner_of, wallet)
    return owner


async def primary_asset(db: Db, publisher_id: UUID) -> UUID | None:
    """None for a publisher that is not on sale."""
    found: UUID | None = await db.fetchval(SQL.primary_asset, publisher_id)
    return found
