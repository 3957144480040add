"""Payments by card, as we know them. What is known of one only ever goes forward."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from control.processors.port import Provider, Standing
from gateway.kit import ids
from gateway.kit.sql import Db, Statements
from gateway.types import Mode

SQL = Statements(__file__)

CENT_DECIMALS = 2

Purpose: TypeAlias = Literal["deposit", "invoice"]
State: TypeAlias = Literal["created", "open", "paid", "failed", "expired", "canceled"]


@dataclass(frozen=True, slots=True)
class Payment:
    id: UUID
    organization_id: UUID
    provider: Provider
    asset_id: UUID
    purpose: Purpose
    invoice_id: UUID | None
    invoice_cause_id: UUID | None
    amount_cents: int
    amount: int
    """In the asset's atomic unit."""
    state: State
    booked_as: Purpose | None
    session_id: str | None
    intent_id: str | None
    charge_id: str | None
    url: str | None
    failure_code: str | None
    failure_message: str | None
    created_at: datetime
    paid_at: datetime | None
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewPayment:
    organization_id: UUID
    created_by: UUID
    provider: Provider
    asset_id: UUID
    amount_cents: int
    amount: int
    invoice_id: UUID | None = None
    request_key: str | None = None
    referral_code: str | None = None


def atomic(amount_cents: int, decimals: int) -> int:
    """A dollar for a dollar, and exact."""
    assert decimals >= CENT_DECIMALS, "an asset that has no cents is none to deposit"
    return amount_cents * int(10 ** (decimals - CENT_DECIMALS))


async def begin(db: Db, new: NewPayment) -> Payment | None:
    """Write down a payment before its processor hears of it. None if there is one in its place already."""
    purpose: Purpose = "deposit" if new.invoice_id is None else "invoice"
    row = await db.fetchrow(
        SQL.begin, ids.new(), new.organization_id, new.created_by, new.provider, new.asset_id, purpose,
        new.invoice_id, new.request_key, new.amount_cents, new.amount,
        new.referral_code,
    )  # fmt: skip
    return payment(row)


async def by_request(db: Db, organization_id: UUID, request_key: str) -> Payment | None:
    return payment(await db.fetchrow(SQL.by_request, organization_id, request_key))


async def own(db: Db, payment_id: UUID, organization_id: UUID, mode: Mode) -> Payment | None:
    return payment(await db.fetchrow(SQL.own, payment_id, organization_id, mode))


async def open_of_invoice(db: Db, invoice_id: UUID) -> Payment | None:
    return payment(await db.fetchrow(SQL.open_of_invoice, invoice_id))


async def of_invoice(db: Db, invoice_id: UUID, organization_id: UUID) -> list[Payment]:
    rows = await db.fetch(SQL.of_invoice, invoice_id, organization_id)
    return [found for row in rows if (found := payment(row)) is not None]


async def find(db: Db, provider: Provider, standing: Standing) -> Payment | None:
    """By the processor's ids, or by ours where we died before theirs were written down."""
    for statement, key in (
        (SQL.by_session, standing.session_id),
        (SQL.by_intent, standing.intent_id),
        (SQL.by_id, standing.our_id),
    ):
        if key is not None and (row := await db.fetchrow(statement, key, provider)) is not None:
            return payment(row)
    return None


async def by_intent(db: Db, provider: Provider, intent_id: str) -> Payment | None:
    return payment(await db.fetchrow(SQL.by_intent, intent_id, provider))


async def lock(db: Db, payment_id: UUID) -> Payment:
    locked = payment(await db.fetchrow(SQL.lock, payment_id))
    assert locked is not None, "payments are never removed"
    return locked


async def stands(db: Db, payment_id: UUID, standing: Standing) -> None:
    state = "open" if standing.state == "paid" else standing.state
    await db.execute(
        SQL.stands, payment_id, state, standing.session_id, standing.intent_id, standing.charge_id,
        standing.url, standing.failure_code, standing.failure_message,
    )  # fmt: skip


async def paid(db: Db, payment_id: UUID, booked_as: Purpose) -> None:
    await db.execute(SQL.paid, payment_id, booked_as)


async def cancel(db: Db, payment_id: UUID) -> None:
    await db.execute(SQL.cancel, payment_id)


async def mode_of(db: Db, asset_id: UUID) -> str:
    return str(await db.fetchval(SQL.mode, asset_id))


def payment(row: Record | None) -> Payment | None:
    if row is None:
        return None
    return Payment(**{name: row[name] for name in Payment.__dataclass_fields__})
