"""An invoice whose payment by card was disputed is owed again, and the books agree whatever becomes of it."""

import asyncio
from typing import Any
from uuid import UUID

from control.processors import reversals
from control.reconciling import books
from gateway.kit.sql import Pool
from gateway.ledger.accounts import PLATFORM
from tests.control.cards import Till
from tests.control.cards import stripe as stripe
from tests.control.cards import till as till
from tests.control.test_paying_invoices import begin, history, revenue, status, succeed
from tests.control.test_paying_invoices import issued as issued_without_number

CENT = 10_000
CARDS = {"invoices", "cards", "reversals", "transfers", "posted", "sums"}


async def issued(till: Till, cents: int) -> str:
    invoice_id = await issued_without_number(till, cents)
    await till.pool.execute("UPDATE invoices SET due_at = issued_at + interval '7 days'")
    return invoice_id


async def paid(till: Till, cents: int = 500) -> tuple[str, str]:
    """An invoice that is paid by card, and its payment intent."""
    invoice_id = await issued(till, cents)
    intent_id = (await begin(till, invoice_id))["payment_intent_id"]
    await succeed(till, intent_id)
    assert await status(till, invoice_id) == "paid"
    return invoice_id, intent_id


async def told(till: Till, type: str, subject: Any) -> None:
    await till.tell(type, subject)
    assert await till.work() == 1


async def agreed(pool: Pool) -> None:
    found = [one async for one in books.compare(pool) if one.name in CARDS]
    assert [one for one in found if one.differences] == []


async def events(till: Till) -> list[str]:
    rows = await till.pool.fetch(
        "SELECT type FROM events WHERE type LIKE 'invoice.%' ORDER BY created_at, id"
    )
    return [row["type"] for row in rows]


async def test_a_disputed_invoice_is_open_again_and_paid_again(till: Till, pool: Pool) -> None:
    invoice_id, intent_id = await paid(till)
    dispute = till.stripe.dispute(intent_id)
    for name in ("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated"):
        await till.tell(name, dispute)
    assert sum(await asyncio.gather(*(till.work() for _ in range(3)))) == 3
    assert (await status(till, invoice_id), await revenue(till), await till.cleared()) == ("issued", 0, 0)
    assert await events(till) == ["invoice.paid", "invoice.reopened"]
    days = await pool.fetchval("SELECT due_at - now() > interval '6 days' FROM invoices")
    assert days
    await agreed(pool)
    await succeed(till, (await begin(till, invoice_id))["payment_intent_id"])
    assert (await status(till, invoice_id), await revenue(till)) == ("paid", 500)
    assert await history(till, invoice_id) == [("stripe", "reversed"), ("stripe", "paid")]
    await agreed(pool)
    # Won, late: it was paid twice, and one of the two is theirs.
    dispute["status"] = "won"
    await told(till, "charge.dispute.closed", dispute)
    assert (await status(till, invoice_id), await revenue(till), await till.balance()) == (
        "paid",
        500,
        500 * CENT,
    )
    await agreed(pool)


async def test_a_dispute_that_is_won_leaves_the_invoice_paid_as_it_was(till: Till, pool: Pool) -> None:
    invoice_id, intent_id = await paid(till)
    dispute = till.stripe.dispute(intent_id)
    await told(till, "charge.dispute.created", dispute)
    dispute["status"] = "won"
    await told(till, "charge.dispute.closed", dispute)
    assert (await status(till, invoice_id), await revenue(till), await till.balance()) == ("paid", 500, 0)
    row = await pool.fetchrow("SELECT paid_source, paid_reference FROM invoices")
    assert row is not None
    assert tuple(row) == ("stripe", intent_id)
    assert await events(till) == ["invoice.paid", "invoice.reopened", "invoice.paid"]
    await agreed(pool)


async def test_it_is_disputed_and_paid_from_the_wallet_as_often_as_it_takes(till: Till, pool: Pool) -> None:
    invoice_id, intent_id = await paid(till)
    await told(till, "charge.dispute.created", till.stripe.dispute(intent_id))
    second = (await begin(till, invoice_id))["payment_intent_id"]
    await succeed(till, second)
    await told(till, "charge.dispute.created", till.stripe.dispute(second))
    assert await status(till, invoice_id) == "issued"
    await till.paid(1000)
    assert (await till.client.post(f"/billing/invoices/{invoice_id}/pay/wallet")).status == 200
    assert (await status(till, invoice_id), await revenue(till), await till.balance()) == (
        "paid",
        500,
        500 * CENT,
    )
    await agreed(pool)


async def test_a_part_of_it_or_a_refund_is_for_a_person(till: Till, pool: Pool) -> None:
    invoice_id, intent_id = await paid(till)
    await told(till, "refund.created", till.stripe.refund(intent_id, 500))
    assert (await status(till, invoice_id), await revenue(till)) == ("paid", 0)
    await agreed(pool)


async def test_what_revenue_lacked_for_a_dispute_is_taken_later(till: Till, pool: Pool) -> None:
    _, intent_id = await paid(till)
    await pool.execute(
        "UPDATE accounts SET held = 200 * 10000 WHERE kind = 'revenue' AND owner_id = $1", PLATFORM
    )
    await told(till, "charge.dispute.created", till.stripe.dispute(intent_id))
    assert await reversals.count(pool) == 1
    assert await reversals.collect(pool) == 0
    await pool.execute("UPDATE accounts SET held = 0")
    assert await reversals.collect(pool) == 1
    assert (await reversals.count(pool), await revenue(till)) == (0, 0)
    await agreed(pool)


async def test_a_void_invoice_stays_void_and_the_money_that_returns_is_theirs(till: Till, pool: Pool) -> None:
    invoice_id, intent_id = await paid(till)
    dispute = till.stripe.dispute(intent_id)
    await told(till, "charge.dispute.created", dispute)
    await pool.execute(
        "UPDATE invoices SET status = 'void', voided_at = now() WHERE id = $1", UUID(invoice_id)
    )
    dispute["status"] = "won"
    await told(till, "charge.dispute.closed", dispute)
    assert (await status(till, invoice_id), await till.balance()) == ("void", 500 * CENT)
    await agreed(pool)
