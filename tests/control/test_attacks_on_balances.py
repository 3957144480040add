"""What somebody tries with gifts that are refunded, and with organizations that are left behind."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.identity.people import Newcomer
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, moves, payouts
from tests.arrivals import arrive
from tests.control.balanced import differences
from tests.control.cards import Till as Cards
from tests.control.cards import stripe as stripe
from tests.control.cards import till as cards
from tests.control.conftest import TEST_USDC, Member, bearer
from tests.control.test_charges import Shop
from tests.control.test_charges import shop as shop
from tests.control.test_payable_after import days_ago
from tests.control.test_paying_invoices import begin, issued, revenue, status
from tests.control.test_promoted_charges import budget as budget
from tests.control.test_promoted_charges import give
from tests.control.test_reopened_invoices import agreed

CENT = 10_000
AGE = timedelta(days=7)
__all__ = ["cards"]


async def made_colleagues(shop: Shop) -> None:
    await shop.pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'viewer')",
        shop.seller, shop.agent.id.user_id,
    )  # fmt: skip


async def payable(shop: Shop, age: timedelta = timedelta()) -> int:
    return await payouts.available(shop.pool, shop.seller, TEST_USDC, age)


@pytest.mark.parametrize("parts", [[None], [200_000, None], [100_000, None], [200_000, 1, None]])
async def test_a_gift_that_was_refunded_in_parts_holds_nothing_back(
    shop: Shop, parts: list[int | None]
) -> None:
    """What the fee took of it came back too."""
    await made_colleagues(shop)
    await give(shop, 300_000)
    await shop.fund(200_000)
    charge = await shop.charged(500_000)
    assert await payable(shop) <= 200_000
    for part in parts:
        assert (await shop.refund(charge, part))[0] == 200
        assert await payable(shop) <= max(await shop.earned(), 0)
    assert (await shop.earned(), await payable(shop)) == (0, 0)
    assert await differences(shop.pool) == []


async def test_a_refund_of_an_old_gift_holds_nothing_back_while_it_is_young(shop: Shop) -> None:
    await made_colleagues(shop)
    await give(shop, 300_000)
    with days_ago(8):
        charge = await shop.charged(300_000)
    assert await shop.earned() > 0
    assert await payable(shop, AGE) == 0
    assert (await shop.refund(charge))[0] == 200
    assert (await shop.earned(), await payable(shop, AGE)) == (0, 0)


@pytest.mark.parametrize("left", ["a debt", "a payout", "an open page"])
async def test_nobody_leaves_a_debt_or_a_payout_behind(
    cards: Cards, pool: Pool, member: Member, left: str
) -> None:
    made = await cards.client.post("/v1/orgs", json={"name": "Team", "slug": "team"})
    named = (await made.json())["org"]["id"]
    second: UUID = await pool.fetchval("SELECT id FROM organizations WHERE slug = 'team'")
    if left == "a debt":
        intent_id = await cards.paid(1000)
        await cards.spend(10 * 100 * CENT)
        await pool.execute("UPDATE card_payments SET organization_id = $1", second)
        await cards.tell("charge.dispute.created", cards.stripe.dispute(intent_id))
        assert await cards.work() == 1
    elif left == "an open page":
        await cards.deposit(1000)
        await pool.execute("UPDATE card_payments SET organization_id = $1", second)
    else:
        earnings = await accounts.ensure(pool, second, TEST_USDC, "earnings")
        aside = await accounts.ensure(pool, second, TEST_USDC, "payouts")
        await arrive(pool, earnings, TEST_USDC, 100, "earned")
        await moves.move(pool, "payout_request", ids.new(), "Payout", {earnings: -100, aside: 100})
    headers = await bearer(pool, Newcomer(member.id.user_id, second, member.id.created_at))
    response = await cards.client.delete(f"/v1/orgs/{named}", headers=headers)
    body = await response.json()
    words = {
        "a debt": "card payments to make up for",
        "a payout": "money",
        "an open page": "a payment by card that can still be made",
    }
    assert (response.status, body["code"]) == (400, "cannot_delete_org")
    assert words[left] in body["detail"]


async def test_an_invoice_is_paid_once_by_wallet_and_card_at_two_gateways(
    cards: Cards, pool: Pool, ports: Ports, aiohttp_client: AiohttpClient, member: Member
) -> None:
    """Whoever is late: what a card brought for nothing is in the balance."""
    other = await aiohttp_client(app.create(pool, ports), headers=member.headers)
    await cards.paid(3000)
    invoice_id = await issued(cards, 500)
    intent_id = (await begin(cards, invoice_id))["payment_intent_id"]
    paid = cards.stripe.succeed(intent_id)
    for _ in range(2):
        await cards.tell("payment_intent.succeeded", paid)
    at = f"/billing/invoices/{invoice_id}/pay/wallet"
    answers, _ = await asyncio.gather(
        asyncio.gather(*(one.post(at) for one in (cards.client, other) * 4)),
        asyncio.gather(*(cards.work() for _ in range(3))),
    )
    assert [one.status for one in answers].count(200) <= 1
    while await cards.work():
        pass
    assert (await status(cards, invoice_id), await revenue(cards)) == ("paid", 500)
    assert (await cards.balance(), await cards.cleared()) == (3000 * CENT, -3500 * CENT)
    assert await pool.fetchval("SELECT count(*) FROM transfers WHERE cause_id = $1", UUID(invoice_id)) == 1
    await agreed(pool)
