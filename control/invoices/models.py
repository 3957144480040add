from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

Status = Literal["draft", "issued", "paid", "void"]
Shown = Literal["draft", "issued", "paid", "void", "overdue"]


class GenerateInvoices(BaseModel, extra="forbid"):
    year: Annotated[int, Field(ge=2000, le=9998)]
    month: Annotated[int, Field(ge=1, le=12)]


class InvoicesGenerated(BaseModel):
    invoice_ids: Annotated[list[UUID], Field(description="Of the month, those that were there included.")]
    count: int


class InvoiceLineItem(BaseModel):
    description: str
    line_type: Annotated[
        str,
        Field(
            description="`plan`, `meter`, `calls`, or `paid`: what was paid for calls when they were made, "
            "below zero."
        ),
    ]
    quantity: Annotated[str, Field(description="Decimal text; of a plan, the share of the month.")]
    unit_price: Annotated[str, Field(description="In dollars; of calls, the average.")]
    amount_usd: Annotated[str, Field(description="To the cent, half to even.")]
    asset_id: UUID | None = None
    amount_atomic: Annotated[
        int | None, Field(description="Of calls: exactly, in the asset's own atomic unit.")
    ] = None


class InvoiceSummary(BaseModel):
    id: UUID
    organization_id: UUID
    invoice_number: Annotated[str, Field(description="`DRAFT` until it is issued; then without gaps.")]
    period_start: date
    period_end: Annotated[date, Field(description="The month's last day, UTC.")]
    subtotal_usd: str
    tax_usd: Annotated[str, Field(description="0.00: amounts are without tax.")] = "0.00"
    total_usd: Annotated[str, Field(description="What is due: the sum of the lines.")]
    status: Status
    mode: Annotated[Literal["live", "test"], Field(description="Test invoices are owed in test money.")]
    created_at: datetime
    issued_at: datetime | None
    due_at: Annotated[
        datetime | None,
        Field(description="Until when it is to be paid; null of a draft, and where nothing was due."),
    ]
    is_overdue: Annotated[bool, Field(description="Whether it is `issued` still, and past that.")]
    paid_at: datetime | None
    voided_at: datetime | None


class Invoice(InvoiceSummary):
    line_items: list[InvoiceLineItem]
