from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from control.processors.invoices import Due
from gateway.kit.sql import Db, Statements
from gateway.types import Mode

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Invoice:
    due: Due
    paid_at: datetime | None
    paid_source: str | None
    paid_reference: str | None


async def on_sale(db: Db) -> list[dict[str, Any]]:
    """Active publishers that take x402, with their endpoints and the prices of their primary asset."""
    return [dict(row) for row in await db.fetch(SQL.on_sale)]


async def invoice(db: Db, invoice_id: UUID, organization_id: UUID, mode: Mode) -> Invoice | None:
    """One of an organization's own, as it reads it; whether it can be paid is its status."""
    row = await db.fetchrow(SQL.invoice, invoice_id, organization_id, mode)
    if row is None:
        return None
    due = Due(**{name: row[name] for name in Due.__dataclass_fields__})
    return Invoice(due, row["paid_at"], row["paid_source"], row["paid_reference"])


async def taken_back(db: Db, invoice_id: UUID) -> set[UUID]:
    """Which payments of an invoice a bank took back, so that it is to be paid again."""
    return {row["payment_id"] for row in await db.fetch(SQL.reversed, invoice_id)}
