"""What somebody tries who wants money that is not theirs, or a plan that they do not pay for."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from stripe import PaymentMethod

from config.plans import Plan
from control.api.ports import Ports
from control.invoicing import drafting
from control.invoicing.drafting import Terms
from control.invoicing.lines import Month, Subscription, holding, metered
from control.processors.stripe_objects import of_method
from control.quotas.catalogue import id_of
from control.transactions import sheet
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, moves
from gateway.ledger.accounts import PLATFORM
from tests.arrivals import arrive
from tests.control.cards import Till as Cards
from tests.control.cards import stripe as stripe
from tests.control.cards import till as cards
from tests.control.conftest import TEST_USDC, Client, Member, bearer, join
from tests.control.promotions import deposit, fill, offering, post
from tests.control.test_invoices import seller, subscribed
from tests.control.test_payouts import DOLLAR, Till, code
from tests.control.test_payouts import till as till
from tests.control.test_spend_caps import made

FREE = Plan(id="free", name="Free", quotas={"projects": 1, "calls_per_month": 10})
METERED = Plan(id="metered", name="Metered", prices={"egress_gb": "0.10"})
HUGE = Plan(
    id="huge", name="Huge", price_per_month="500.00", included={"egress_gb": 31_000}, quotas={"projects": 9}
)
CHANGED = "/organizations/default/plan"
PROJECT = {"name": "p", "region": "local"}
APRIL = Month(date(2026, 4, 1))
__all__ = ["cards"]


@pytest.fixture
def ports(ports: Ports) -> Ports:
    settings = ports.settings.model_copy(update={"plans": (FREE, HUGE)})
    return offering(replace(ports, settings=settings), signup_bonus="1", payment_method_bonus="1")


async def spend_gift(pool: Pool, giver: UUID, payee: UUID, amount: int) -> None:
    """A gift, spent with a publisher, without a fee."""
    budget = await accounts.ensure(pool, PLATFORM, TEST_USDC, "promotion_budget")
    await arrive(pool, budget, TEST_USDC, amount, "budget")
    given = await accounts.ensure(pool, giver, TEST_USDC, "promotional")
    earnings = await accounts.ensure(pool, payee, TEST_USDC, "earnings")
    await moves.move(pool, "grant", ids.new(), "a gift", {budget: -amount, given: amount})
    await moves.move(pool, "charge", ids.new(), "a call", {given: -amount, earnings: amount})


async def second_organization(client: Client, pool: Pool) -> UUID:
    response = await client.post("/v1/orgs", json={"name": "Second", "slug": "second"})
    assert response.status in (200, 201), await response.text()
    found: UUID = await pool.fetchval("SELECT id FROM organizations WHERE slug = 'second'")
    return found


async def test_a_gift_is_not_paid_out_by_way_of_a_second_organization(till: Till) -> None:
    await till.earn(2 * DOLLAR)
    second = await second_organization(till.client, till.pool)
    await spend_gift(till.pool, second, till.owner, 10 * DOLLAR)
    assert (await till.earnings())["available_atomic"] == 2 * DOLLAR
    assert await code(await till.ask(amount_atomic=2 * DOLLAR + 1)) == (409, "earnings-too-low")
    assert await till.balances() == (12 * DOLLAR, 0)
    assert (await till.asked())["amount_atomic"] == 2 * DOLLAR


async def test_a_gift_is_not_paid_out_by_way_of_a_colleague(till: Till) -> None:
    colleague = await join(till.pool)
    await till.pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'viewer')",
        till.owner, colleague.id.user_id,
    )  # fmt: skip
    await spend_gift(till.pool, colleague.id.organization_id, till.owner, 10 * DOLLAR)
    assert await code(await till.ask(amount_atomic=DOLLAR)) == (409, "earnings-too-low")


async def test_a_gift_to_somebody_else_is_earned_for_real(till: Till) -> None:
    other = await join(till.pool)
    await spend_gift(till.pool, other.id.organization_id, till.owner, 10 * DOLLAR)
    assert (await till.asked())["amount_atomic"] == 10 * DOLLAR


async def test_who_owes_for_a_card_that_was_disputed_is_paid_the_rest(till: Till, cards: Cards) -> None:
    assert till.owner == cards.organization_id
    await till.earn(10 * DOLLAR)
    intent_id = await cards.paid(1000)
    await cards.spend(6 * DOLLAR)
    dispute = cards.stripe.dispute(intent_id)
    await cards.tell("charge.dispute.created", dispute)
    assert await cards.work() == 1
    assert await code(await till.ask(amount_atomic=5 * DOLLAR)) == (409, "earnings-too-low")
    assert (await till.earnings())["available_atomic"] == 4 * DOLLAR
    # Won, it is theirs again.
    dispute["status"] = "won"
    await cards.tell("charge.dispute.closed", dispute)
    assert await cards.work() == 1
    assert (await till.asked())["amount_atomic"] == 10 * DOLLAR


@pytest.mark.parametrize("spent", [0, 6 * DOLLAR])
async def test_a_deposit_that_was_disputed_proves_nobody(cards: Cards, spent: int) -> None:
    await fill(cards.pool)
    intent_id = await cards.paid(1000)
    if spent:
        await cards.spend(spent)
    await cards.tell("charge.dispute.created", cards.stripe.dispute(intent_id))
    assert await cards.work() == 1
    assert await post(cards.client, "/wallet/bonus/signup") == (409, "proof-needed")
    await cards.paid(1000)
    assert (await post(cards.client, "/wallet/bonus/signup"))[0] == 200


async def test_a_payment_method_that_cannot_be_told_from_others_gives_no_bonus(
    client: Client, pool: Pool, member: Member
) -> None:
    await fill(pool)
    await deposit(pool, member, DOLLAR)
    await pool.execute(
        "INSERT INTO payment_methods (id, organization_id, provider, mode, provider_id, type, is_default)"
        " VALUES ($1, $2, 'stripe', 'test', 'pm_1', 'link', true)",
        uuid4(), member.id.organization_id,
    )  # fmt: skip
    assert await post(client, "/wallet/bonus/payment-method") == (409, "payment-method-needed")


def test_a_bank_account_is_the_same_one_whenever_it_is_added() -> None:
    bank = {"last4": "6789", "fingerprint": "same"}
    told = {"id": "pm_1", "type": "us_bank_account", "customer": None, "us_bank_account": bank}
    found = of_method(PaymentMethod.construct_from(told, None))
    assert (found.last4, found.fingerprint) == ("6789", "same")


async def test_a_key_with_caps_has_nothing_paid_out_and_chooses_no_plan(till: Till) -> None:
    await till.earn(10 * DOLLAR)
    key = await made(till.client, spend_caps={"per_day": "1"})
    headers = {"Authorization": f"Bearer {key['api_key']}"}
    body: dict[str, Any] = {"asset_id": str(TEST_USDC)}
    assert (await till.client.post(till.at, json=body, headers=headers)).status == 403
    body = {"destination_wallet": "0x" + "c5" * 20, "amount_atomic": DOLLAR, "description": "x"}
    at = "/billing/publishers/weather/payouts"
    assert (await till.client.post(at, json=body, headers=headers)).status == 403
    chosen = {"plan_id": str(id_of(HUGE))}
    assert (await till.client.post(CHANGED, json=chosen, headers=headers)).status == 403
    assert await till.balances() == (10 * DOLLAR, 0)


async def choose(client: Client, pool: Pool, member: Member, plan: Plan) -> None:
    live = await bearer(pool, member.id, mode="live")
    response = await client.post(CHANGED, json={"plan_id": str(id_of(plan))}, headers=live)
    assert response.status == 200, await response.text()


async def test_what_a_smaller_plan_has_no_room_for_is_not_made_before_it_follows(
    client: Client, pool: Pool, member: Member
) -> None:
    await choose(client, pool, member, HUGE)
    assert (await client.post("/projects", json=PROJECT)).status == 201
    await choose(client, pool, member, FREE)
    refused = await client.post("/projects", json=PROJECT)
    assert await code(refused) == (403, "quota-exceeded")
    # Staying makes room again.
    await choose(client, pool, member, HUGE)
    assert (await client.post("/projects", json=PROJECT)).status == 201


async def test_calls_of_this_month_keep_nobody_on_a_plan(client: Client, pool: Pool, member: Member) -> None:
    await choose(client, pool, member, HUGE)
    await pool.execute(
        "INSERT INTO usage_days (day, publisher_id, organization_id, asset_id, rail, outcome, calls, cost)"
        " SELECT (now() AT TIME ZONE 'UTC')::date, $1, $2, NULL, 'free', 'free', 50, 0",
        await seller(pool), member.id.organization_id,
    )  # fmt: skip
    await choose(client, pool, member, FREE)


def test_a_large_plan_for_the_last_hour_includes_an_hour_of_it() -> None:
    late = APRIL.end - timedelta(hours=1)
    chosen = [(HUGE, Subscription("Huge", 50_000, late, None))]
    used = {"egress_bytes": 31_000 * 10**9}
    (line,) = metered(holding(APRIL, chosen, METERED), APRIL, used)
    (before,) = metered(holding(APRIL, [], METERED), APRIL, used)
    assert before.amount_cents == 310_000
    # An hour's allowance, and an hour at no price.
    assert 309_000 <= line.amount_cents < before.amount_cents


async def test_a_plan_ends_with_its_organization(pool: Pool, member: Member, ports: Ports) -> None:
    who = member.id.organization_id
    terms: Terms = drafting.terms(ports.settings.plans, ports.settings.networks)
    await subscribed(pool, who, 2900, APRIL.start)
    half = APRIL.start + timedelta(days=15)
    await pool.execute("UPDATE organizations SET deleted_at = $2 WHERE id = $1", who, half)
    (invoice_id,) = await drafting.draft(pool, terms, APRIL, who)
    total = await pool.fetchval("SELECT total_cents FROM invoices WHERE id = $1", invoice_id)
    assert total == 1450
    assert await drafting.draft(pool, terms, Month(date(2026, 5, 1)), who) == []


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_no_text_of_others_is_a_formula(start: str) -> None:
    assert sheet.plain(f"{start}1+1").startswith("'")


async def test_a_test_key_never_pays_live_money(client: Client, pool: Pool, member: Member) -> None:
    """Neither by wallet nor by card, whatever invoice it names."""
    live = await bearer(pool, member.id, mode="live")
    await pool.execute(
        "INSERT INTO invoices (id, organization_id, asset_id, mode, month, status, total_cents, number,"
        " issued_at) SELECT $1, $2, id, 'live', '2026-04-01', 'issued', 500, 1, $3 FROM assets"
        " WHERE mode = 'live' LIMIT 1",
        invoice_id := uuid4(), member.id.organization_id, datetime.now(UTC),
    )  # fmt: skip
    at = f"/billing/invoices/{invoice_id}/pay/wallet"
    assert (await client.post(at)).status == 404
    assert await code(await client.post(at, headers=live)) == (402, "balance-too-low")
