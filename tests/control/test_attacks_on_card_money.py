"""What somebody tries whose bank takes money back and gives it back again, with two organizations."""

import asyncio
from uuid import UUID

import pytest

from control.processors import reversals
from gateway.kit import ids
from gateway.ledger import accounts, moves
from tests.control.cards import Till as Cards
from tests.control.cards import stripe as stripe
from tests.control.cards import till as cards
from tests.control.conftest import TEST_USDC, join
from tests.control.test_attacks_on_billing import second_organization
from tests.control.test_paying_invoices import begin, revenue, status, succeed
from tests.control.test_payouts import DOLLAR, Till, code
from tests.control.test_payouts import till as till
from tests.control.test_reopened_invoices import agreed, paid, told

CENT = 10_000
__all__ = ["cards"]


async def books(cards: Cards) -> tuple[int, int, int]:
    """What the platform earned, what the payer has, and what came in by Stripe."""
    await agreed(cards.pool)
    return await revenue(cards), await cards.balance() // CENT, -await cards.cleared() // CENT


async def won_after_it_was_paid_again(cards: Cards) -> tuple[str, str]:
    """The invoice is paid by another card, and what the first one paid is in the wallet."""
    invoice_id, intent_id = await paid(cards)
    dispute = cards.stripe.dispute(intent_id)
    await told(cards, "charge.dispute.created", dispute)
    await succeed(cards, (await begin(cards, invoice_id))["payment_intent_id"])
    dispute["status"] = "won"
    await told(cards, "charge.dispute.closed", dispute)
    assert await books(cards) == (500, 500, 1000)
    return invoice_id, intent_id


@pytest.mark.parametrize("kind", ["dispute", "refund"])
async def test_what_became_a_balance_is_taken_back_from_the_balance(cards: Cards, kind: str) -> None:
    """And not from revenue, which has the other card's: else it could be spent, and had back as well."""
    invoice_id, intent_id = await won_after_it_was_paid_again(cards)
    again = cards.stripe.dispute(intent_id) if kind == "dispute" else cards.stripe.refund(intent_id, 500)
    await told(cards, f"charge.{kind}.created" if kind == "dispute" else "refund.created", again)
    assert (await status(cards, invoice_id), await books(cards)) == ("paid", (500, 0, 500))
    again["status"] = "won" if kind == "dispute" else "failed"
    await told(cards, "charge.dispute.closed" if kind == "dispute" else "refund.failed", again)
    assert (await status(cards, invoice_id), await books(cards)) == ("paid", (500, 500, 1000))


async def test_what_became_a_balance_and_was_spent_is_owed(cards: Cards) -> None:
    _, intent_id = await won_after_it_was_paid_again(cards)
    await cards.spend(400 * CENT)
    await told(cards, "charge.dispute.created", cards.stripe.dispute(intent_id))
    assert await books(cards) == (500, 0, 900)
    assert await reversals.collect(cards.pool) == 0
    await cards.paid(1000)
    assert await reversals.collect(cards.pool) == 1
    assert await books(cards) == (500, 600, 1500)


async def test_an_invoice_disputed_in_halves_is_paid_again_when_one_is_won(cards: Cards) -> None:
    invoice_id, intent_id = await paid(cards)
    halves = [cards.stripe.dispute(intent_id) for _ in range(2)]
    halves[0]["amount"] = halves[1]["amount"] = 250
    for one in halves:
        await told(cards, "charge.dispute.created", one)
    assert (await status(cards, invoice_id), await books(cards)) == ("issued", (0, 0, 0))
    # As after a dispute of a part, which leaves it paid: else the other card would pay this half once more.
    halves[0]["status"] = "won"
    await told(cards, "charge.dispute.closed", halves[0])
    assert (await status(cards, invoice_id), await books(cards)) == ("paid", (250, 0, 250))
    halves[1]["status"] = "won"
    await told(cards, "charge.dispute.closed", halves[1])
    assert (await status(cards, invoice_id), await books(cards)) == ("paid", (500, 0, 500))


@pytest.mark.parametrize("spent", [0, 700])
async def test_a_refund_that_fails_leaves_the_dispute_beside_it_whole(cards: Cards, spent: int) -> None:
    """Of two that want the same money one gets it; when that one fails, the other one does."""
    intent_id = await cards.paid(1000)
    await cards.paid(700)
    refund = cards.stripe.refund(intent_id, 1000)
    await told(cards, "refund.created", refund)
    await told(cards, "charge.dispute.created", cards.stripe.dispute(intent_id))
    assert await books(cards) == (0, 700, 700)
    if spent:
        await cards.spend(spent * CENT)
    refund["status"] = "failed"
    await told(cards, "refund.failed", refund)
    await asyncio.gather(*(reversals.collect(cards.pool) for _ in range(3)))
    assert await books(cards) == (0, 700 - spent, 700)
    assert await reversals.count(cards.pool) == 0


async def call(till: Till, payer: UUID, amount: int) -> None:
    funded = await accounts.ensure(till.pool, payer, TEST_USDC, "funded")
    earnings = await accounts.ensure(till.pool, till.owner, TEST_USDC, "earnings")
    await moves.move(till.pool, "charge", ids.new(), "a call", {funded: -amount, earnings: amount})


@pytest.mark.parametrize("who", ["another of theirs", "a stranger"])
async def test_who_owes_is_not_paid_by_way_of_a_second_organization(
    till: Till, cards: Cards, who: str
) -> None:
    payer = (
        await second_organization(till.client, till.pool)
        if who == "another of theirs"
        else (await join(till.pool)).id.organization_id
    )
    await till.earn(2 * DOLLAR)
    intent_id = await cards.paid(1000)
    ours = await accounts.ensure(till.pool, till.owner, TEST_USDC, "funded")
    theirs = await accounts.ensure(till.pool, payer, TEST_USDC, "funded")
    await moves.move(till.pool, "deposit", ids.new(), "x", {ours: -10 * DOLLAR, theirs: 10 * DOLLAR})
    await till.pool.execute("UPDATE card_payments SET organization_id = $1", payer)
    await call(till, payer, 10 * DOLLAR)
    dispute = cards.stripe.dispute(intent_id)
    await told(cards, "charge.dispute.created", dispute)
    if who == "a stranger":
        assert (await till.asked())["amount_atomic"] == 12 * DOLLAR
        return
    assert (await till.earnings())["available_atomic"] == 2 * DOLLAR
    assert await code(await till.ask(amount_atomic=2 * DOLLAR + 1)) == (409, "earnings-too-low")
    dispute["status"] = "won"
    await told(cards, "charge.dispute.closed", dispute)
    assert (await till.asked())["amount_atomic"] == 12 * DOLLAR
