"""Paying an invoice by card: one payment intent at a time, the same for everybody who asks."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg.pool import Pool as AnyPool

from control.processors import booking, payments
from control.processors.payments import NewPayment, Payment
from control.processors.port import Asked, Cards, Standing
from gateway.kit.problem import Refusal
from gateway.kit.sql import Db, Pool

# Stripe forgets idempotency keys after a day.
ASKED_AGAIN = timedelta(hours=23)
CENTS_MIN = 50


class InvoiceNotPayable(Refusal):
    status, slug, title = 400, "invoice-not-payable", "The invoice cannot be paid"


@dataclass(frozen=True, slots=True)
class Due:
    id: UUID
    organization_id: UUID
    asset_id: UUID
    decimals: int
    status: str
    total_cents: int


async def begin(db: Db, cards: Cards, due: Due, user_id: UUID) -> Payment:
    """In a transaction. What was begun before and is open still is gone on with."""
    if due.status != "issued":
        raise InvoiceNotPayable(f"it is {due.status}; only an issued invoice is paid")
    if due.total_cents < CENTS_MIN:
        raise InvoiceNotPayable(f"cards pay {CENTS_MIN} cents or more: pay it from the wallet")
    amount = payments.atomic(due.total_cents, due.decimals)
    new = NewPayment(
        due.organization_id, user_id, cards.provider, due.asset_id, due.total_cents, amount, due.id
    )
    open_one = await payments.open_of_invoice(db, due.id)
    if open_one is not None and open_one.intent_id is None:
        if open_one.created_at > datetime.now(UTC) - ASKED_AGAIN:
            return open_one
        await payments.cancel(db, open_one.id)
        open_one = None
    found = open_one or await payments.begin(db, new) or await payments.open_of_invoice(db, due.id)
    if found is None:
        raise InvoiceNotPayable("a payment of it has ended in this moment; ask again")
    return found


async def opened(pool: Pool, cards: Cards, payment: Payment, return_to: str) -> Standing:
    """The intent, with the secret by which a browser pays it. Asked twice, it is the same one."""
    if payment.intent_id is None:
        asked = Asked(payment.id, payment.amount_cents, f"Invoice {payment.invoice_id}", return_to)
        standing = await cards.intent(asked)
    else:
        standing = await cards.intent_standing(payment.intent_id)
    async with pool.acquire() as db, db.transaction():
        await payments.stands(db, payment.id, standing)
    if standing.state != "open":
        raise InvoiceNotPayable(f"its payment is {standing.state} just now; look at the invoice again")
    return standing


async def give_up(pool: Pool, cards: Cards | None, invoice_id: UUID) -> None:
    """End what is open by card, so that an invoice which is paid otherwise is not paid by card as well.

    What a card has paid already is booked by this, and then there is nothing left to pay.
    """
    assert isinstance(pool, AnyPool), "Stripe is asked in between"
    payment = await payments.open_of_invoice(pool, invoice_id)
    if payment is None:
        return
    if payment.intent_id is None or cards is None:
        await payments.cancel(pool, payment.id)
        return
    await booking.settle(pool, cards.provider, await cards.cancel(payment.intent_id))
