from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from asyncpg import Record

from control.giving import sources
from control.transactions.models import Transaction
from gateway.kit import money
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

SOURCES = {
    "charge": "usage",
    "expiry": "promotion_expired",
    "refund": "refund",
    "slash": "slash",
    "invoice": "invoice",
    "reversal": "payment_reversed",
}
DEPOSITS = {
    "chain": "onchain_deposit",
    "stripe": "fiat_purchase",
    "polar": "fiat_purchase",
    "bank": "admin_deposit",
}


@dataclass(frozen=True, slots=True)
class Span:
    """Whose history, in which money, and which part of it."""

    organization_id: UUID
    mode: Literal["live", "test"]
    is_usage_included: bool
    start: datetime | None
    end: datetime | None


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
        source=source_of(row),
        amount_atomic=abs(amount),
        amount_usd=money.to_text(abs(amount), row["decimals"]),
        asset_id=row["asset_id"],
        asset_symbol=row["symbol"],
        description=description,
        publisher_id=row["publisher_id"],
        publisher_name=row["publisher_name"],
        call_count=calls if row["kind"] == "charge" else 0,
        created_at=row["created_at"],
        remaining_atomic=row["remaining"],
        remaining_usd=None if row["remaining"] is None else money.to_text(row["remaining"], row["decimals"]),
        expires_at=row["expires_at"],
    )


def source_of(row: Record) -> str:
    kind: str = row["kind"]
    if kind == "grant":
        return sources.SOURCES[row["reason"]]
    return DEPOSITS[row["came_by"]] if kind == "deposit" else SOURCES[kind]


async def sums(db: Db, span: Span) -> list[dict[str, Any]]:
    """For each asset, what the span ends with and what changed in it."""
    rows = await db.fetch(SQL.sums, span.organization_id, span.mode, span.start, span.end)
    return [dict(row) for row in rows]
