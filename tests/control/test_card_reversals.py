"""Money that goes back: taken as far as it is there, owed beyond that, and never a balance below zero."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from control.processors import reversals
from control.reconciling import cards
from gateway.kit.sql import Pool
from tests.control.cards import Till, operating, seconds_ago
from tests.control.cards import stripe as stripe
from tests.control.cards import till as till

CENT = 10_000


async def back(till: Till, type: str, subject: Any) -> None:
    await till.tell(type, subject)
    assert await till.work() == 1


async def refunded(till: Till, intent_id: str, cents: int) -> Any:
    refund = till.stripe.refund(intent_id, cents)
    charge = till.stripe.objects[refund["charge"]]
    await back(till, "charge.refunded", charge)
    return refund


async def books(till: Till) -> tuple[int, int, int]:
    """What is in the wallet, what came in by Stripe, and what is owed."""
    owed = await till.pool.fetchval("SELECT coalesce(sum(owed), 0) FROM card_reversals")
    return await till.balance() // CENT, -await till.cleared() // CENT, int(owed) // CENT


async def test_a_refund_takes_back_what_it_returned(till: Till, pool: Pool) -> None:
    intent_id = await till.paid(1000)
    await refunded(till, intent_id, 300)
    assert await books(till) == (700, 700, 0)
    await refunded(till, intent_id, 700)
    assert await books(till) == (0, 0, 0)
    told = await pool.fetch("SELECT payload FROM events WHERE type = 'payment.reversed' ORDER BY created_at")
    assert [(one["payload"]["reason"], one["payload"]["taken_atomic"]) for one in told] == [
        ("refund", "3000000"),
        ("refund", "7000000"),
    ]


async def test_what_was_spent_is_owed_and_taken_later(till: Till, pool: Pool) -> None:
    intent_id = await till.paid(1000)
    await till.spend(600 * CENT)
    dispute = till.stripe.dispute(intent_id)
    await back(till, "charge.dispute.created", dispute)
    assert await books(till) == (0, 600, 600)
    response = await till.client.get("/platform/card-debts", headers=await operating(pool))
    (debt,) = (await response.json())["data"]
    assert (debt["kind"], debt["owed_atomic"], debt["taken_atomic"]) == ("dispute", 600 * CENT, 400 * CENT)
    assert await reversals.collect(pool) == 0
    await till.paid(500)
    assert await reversals.collect(pool) == 1
    assert await books(till) == (0, 600, 100)
    await till.paid(500)
    assert sum(await asyncio.gather(*(reversals.collect(pool) for _ in range(3)))) == 1
    # What came in by Stripe and stayed is what is in the wallet, and what was spent.
    assert await books(till) == (400, 1000, 0)


async def test_what_is_held_for_a_call_stays(till: Till, pool: Pool) -> None:
    intent_id = await till.paid(1000)
    await pool.execute("UPDATE accounts SET held = $1 WHERE kind = 'funded'", 400 * CENT)
    await back(till, "charge.dispute.created", till.stripe.dispute(intent_id))
    assert await books(till) == (400, 400, 400)


async def test_a_dispute_that_is_won_gives_back(till: Till) -> None:
    intent_id = await till.paid(1000)
    await till.spend(600 * CENT)
    dispute = till.stripe.dispute(intent_id)
    await back(till, "charge.dispute.created", dispute)
    dispute["status"] = "won"
    await back(till, "charge.dispute.closed", dispute)
    assert await books(till) == (400, 1000, 0)
    # The earlier event, once more and late.
    await back(till, "charge.dispute.created", dispute | {"status": "needs_response"})
    assert await books(till) == (400, 1000, 0)


async def test_an_inquiry_takes_nothing(till: Till) -> None:
    intent_id = await till.paid(1000)
    await back(till, "charge.dispute.created", till.stripe.dispute(intent_id, "warning_needs_response"))
    assert await books(till) == (1000, 1000, 0)


async def test_a_refund_that_fails_gives_back(till: Till) -> None:
    intent_id = await till.paid(1000)
    refund = await refunded(till, intent_id, 300)
    refund["status"] = "failed"
    await back(till, "refund.failed", refund)
    assert await books(till) == (1000, 1000, 0)


async def test_a_refund_that_is_told_before_the_payment_counts(till: Till) -> None:
    made = await till.deposit(1000)
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    await refunded(till, session["payment_intent"], 1000)
    assert await books(till) == (0, 0, 0)
    await back(till, "checkout.session.completed", session)
    assert await books(till) == (0, 0, 0)


async def test_the_same_reversal_told_at_once_is_taken_once(till: Till) -> None:
    intent_id = await till.paid(1000)
    await till.paid(500)
    dispute = till.stripe.dispute(intent_id)
    for name in ("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated"):
        await till.tell(name, dispute)
    assert sum(await asyncio.gather(*(till.work() for _ in range(3)))) == 3
    assert await books(till) == (500, 500, 0)


async def test_a_dispute_of_what_was_refunded_takes_it_once(till: Till) -> None:
    intent_id = await till.paid(1000)
    await till.paid(2000)
    await refunded(till, intent_id, 400)
    await back(till, "charge.dispute.created", till.stripe.dispute(intent_id))
    assert await books(till) == (2000, 2000, 0)


async def test_more_refunds_than_a_page_of_them(till: Till) -> None:
    intent_id = await till.paid(1000)
    for _ in range(105):
        till.stripe.refund(intent_id, 5)
    await refunded(till, intent_id, 5)
    assert await books(till) == (1000 - 530, 1000 - 530, 0)


@pytest.mark.parametrize("spent", [0, 300, 1000])
async def test_a_crash_between_leaves_nothing_half_done(
    till: Till, pool: Pool, monkeypatch: pytest.MonkeyPatch, spent: int
) -> None:
    intent_id = await till.paid(1000)
    if spent:
        await till.spend(spent * CENT)

    async def dies(*args: Any) -> None:
        raise RuntimeError("here the process was killed")

    with monkeypatch.context() as patched:
        patched.setattr(reversals, "tell", dies)
        await back(till, "charge.dispute.created", till.stripe.dispute(intent_id))
    assert await books(till) == (1000 - spent, 1000, 0)
    await pool.execute("UPDATE payment_events SET due_at = now()")
    assert await till.work() == 1
    assert await books(till) == (0, spent, spent)


async def test_what_was_taken_back_is_compared_with_stripes_own_lists(
    till: Till, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "SECOND_LOOK_SECONDS", 0)

    async def found() -> list[tuple[str, str, str]]:
        compared = cards.compare(pool, till.clerk.processors, timedelta(days=3))
        return [
            (one.subject.split()[-1], one.expected, one.found)
            async for result in compared
            if result.name == "stripe reversals"
            for one in result.differences
        ]

    intent_id, other = await till.paid(1000), await till.paid(500)
    refund = await refunded(till, intent_id, 300)
    dispute = till.stripe.dispute(other)
    assert await found() == [(dispute["id"], "taken back", "nothing")]
    await back(till, "charge.dispute.created", dispute)
    assert await found() == []
    # Somebody else's, of the same account at Stripe, and an inquiry, which takes nothing.
    till.stripe.new("refund", amount=100, charge="ch_1", payment_intent="pi_of_another", status="succeeded")
    till.stripe.dispute(intent_id, "warning_needs_response")
    assert await found() == []
    # Won, and failed, and nobody told us; long ago, both of them.
    dispute["status"], refund["status"] = "won", "failed"
    for one in (dispute, refund):
        one["created"] = seconds_ago(86_400 * 30)
    assert await found() == sorted((one["id"], "nothing", "taken back") for one in (dispute, refund))
    till.stripe.is_down = True
    compared = [one async for one in cards.compare(pool, till.clerk.processors, timedelta(days=3))]
    assert [(one.name, one.obstacle is not None) for one in compared] == [
        ("stripe", True),
        ("stripe reversals", True),
    ]
