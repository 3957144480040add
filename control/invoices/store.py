from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal
from uuid import UUID

from asyncpg import Record

from control.invoices.models import Invoice, InvoiceLineItem, InvoiceSummary, Shown
from control.invoicing.lines import Month
from control.invoicing.wording import numbered, usd
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def get(db: Db, invoice_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.get, invoice_id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is left out is any."""

    organization_id: UUID | None = None
    status: Shown | None = None
    month: date | None = None
    mode: Literal["live", "test"] | None = None


async def page(db: Db, wanted: Wanted, limit: int, offset: int) -> tuple[int, list[InvoiceSummary]]:
    is_overdue = wanted.status == "overdue"
    status = "issued" if is_overdue else wanted.status
    asked = (wanted.organization_id, status, is_overdue, wanted.month, wanted.mode)
    total = int(await db.fetchval(SQL.count, *asked))
    return total, [summary(row) for row in await db.fetch(SQL.page, *asked, limit, offset)]


async def whole(db: Db, row: Record) -> Invoice:
    items = [
        InvoiceLineItem(
            description=line["description"],
            line_type=line["line_type"],
            quantity=line["quantity"],
            unit_price=line["unit_price"],
            amount_usd=usd(line["amount_cents"]),
            asset_id=line["asset_id"],
            amount_atomic=line["amount_atomic"],
        )
        for line in await db.fetch(SQL.lines, row["id"])
    ]
    return Invoice(line_items=items, **summary(row).model_dump())


def summary(row: Record) -> InvoiceSummary:
    month = Month(row["month"])
    return InvoiceSummary(
        id=row["id"],
        organization_id=row["organization_id"],
        invoice_number=numbered(row["mode"], row["number"]),
        period_start=month.first,
        period_end=month.end.date() - timedelta(days=1),
        subtotal_usd=usd(row["total_cents"]),
        total_usd=usd(row["total_cents"]),
        status=row["status"],
        mode=row["mode"],
        created_at=row["created_at"],
        issued_at=row["issued_at"],
        due_at=row["due_at"],
        is_overdue=row["is_overdue"],
        paid_at=row["paid_at"],
        voided_at=row["voided_at"],
    )
