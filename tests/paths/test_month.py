"""A month: agents call and pay in every way there is, a publisher earns, and every screen says the same."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import ClientSession
from eth_utils.address import to_checksum_address

from config.plans import Plan
from control.bootstrap import ensure_operator
from control.demo import token
from control.demo.chain import Chain
from control.invoicing import drafting, monthly
from control.metering import rollups
from control.processors.jobs import Clerk
from control.processors.port import Processors
from control.quotas.catalogue import id_of
from control.reconciling import books, cards, runs
from control.roles import work
from control.roles.base import based
from control.roles.charging import charging
from gateway.kit.sql import Pool
from tests.fakes.stripe import FakeStripe, running
from tests.paths.conftest import Account, Farebox, Upstream, serving, settings_of
from tests.paths.test_card_payments import tell
from tests.paths.test_payouts import APPROVE, RECEIVER

FREE = Plan(id="free", name="Free", quotas={"calls_per_month": 1000})
TEAM = Plan(id="team", name="Team", price_per_month="30.00", quotas={"calls_per_month": 100})
CENT = 10_000
LATELY = timedelta(days=40)


@dataclass(slots=True)
class Month:
    farebox: Farebox
    stripe: FakeStripe
    processors: Processors
    caller: Account
    operator: dict[str, str]
    publisher_id: str = ""
    charge_id: str = ""
    invoice_id: str = ""
    payout_id: str = ""

    async def ask(
        self, method: str, path: str, who: dict[str, str], body: Any = None, status: int = 200
    ) -> Any:
        more = {} if body is None else {"body": body}
        reply = await self.farebox.agent.ask(method, f"{self.farebox.origin}{path}", headers=who, **more)
        assert reply.status == status, reply.text
        return reply.json if status != 204 else None

    async def data(self, path: str, who: dict[str, str]) -> Any:
        """Some rooms have an envelope and some have none: both as the reference has them."""
        shown = await self.ask("GET", path, who)
        return shown["data"] if isinstance(shown, dict) and "data" in shown else shown

    async def told(self, event: Any) -> None:
        """Three times at once, and by three workers at once."""
        clerk = Clerk(self.farebox.pool, self.processors)
        said = await asyncio.gather(*(tell(self.farebox, self.stripe, event) for _ in range(3)))
        assert said == [200] * 3
        assert sum(await asyncio.gather(*(clerk.turn() for _ in range(3)))) == 1

    async def posted(self, kind: str) -> int:
        """Over all owners, which are one for each kind that is asked for here."""
        query = "SELECT coalesce(sum(posted), 0) FROM accounts WHERE kind = $1"
        return int(await self.farebox.pool.fetchval(query, kind))


@pytest.fixture
async def month(
    database_url: str, pool: Pool, valkey: str, chain: Chain, paid_token: str, upstream: Upstream
) -> AsyncIterator[Month]:
    async with running(FakeStripe()) as stripe:
        settings = settings_of(
            database_url, valkey, chain, paid_token, plans=(FREE, TEAM),
            stripe={"secret_key": stripe.key, "webhook_secrets": (stripe.secret,), "api_base": stripe.url},
        )  # fmt: skip
        key = await ensure_operator(pool, "test")
        async with (
            serving(settings) as origin,
            ClientSession(auto_decompress=False) as session,
            charging(settings) as processors,
        ):
            farebox = await Farebox.opened(origin, settings, pool, session, chain, paid_token, upstream)
            caller = await farebox.sign_up()
            yield Month(farebox, stripe, processors, caller, {"Authorization": f"Bearer {key}"})


async def live_through(month: Month) -> None:
    await deposit(month)
    await call(month)
    await charge(month)
    await bill(month)
    await pay_out(month)


async def deposit(month: Month) -> None:
    """Five dollars by card, one on chain, and sixty cents for nothing."""
    made = await month.ask("POST", "/wallet/deposit", month.caller.headers, {"amount_cents": 500})
    session = month.stripe.pay(made["data"]["checkout_url"].rpartition("/")[2])
    await month.told(month.stripe.told("checkout.session.completed", session))
    paid = await month.farebox.pay(
        "POST", f"{month.farebox.origin}/wallet/deposit/crypto", headers=month.caller.headers,
        body={"amount": "1"},
    )  # fmt: skip
    assert paid.status == 200, paid.text
    asset = str(month.farebox.asset.id)
    filled = {"asset_id": asset, "amount": "10", "source": "bank"}
    await month.ask("POST", "/platform/promotions/budget", month.operator, filled, 201)
    at = f"/platform/organizations/{month.caller.organization_id}/grants"
    await month.ask("POST", at, month.operator, {"asset_id": asset, "amount": "0.60"}, 201)


async def call(month: Month) -> None:
    """Five calls at a quarter, of which sixty cents were given, and one by x402."""
    shop = await month.farebox.publish()
    for _ in range(5):
        await month.ask("GET", "/publishers/shop/x", month.caller.headers)
    assert (await month.farebox.pay("GET", f"{shop}/y")).status == 200
    shown = await month.data("/organizations/default/publishers", month.farebox.publisher.headers)
    month.publisher_id = shown[0]["id"]


async def charge(month: Month) -> None:
    """A dollar, of which forty cents go back, and ten cents of a penalty."""
    at = f"/platform/publishers/{month.publisher_id}"
    await month.ask("PATCH", at, month.operator, {"is_first_party": True})
    wanted = {"agent_wallet": month.farebox.payer, "amount_atomic": 100 * CENT, "description": "a report"}
    seller, charges = month.farebox.publisher.headers, "/billing/publishers/shop/charges"
    month.charge_id = (await month.ask("POST", charges, seller, wanted))["id"]
    refund, slash = (
        {"amount_atomic": 40 * CENT, "reason": "late"},
        {"slash_amount_atomic": 10 * CENT, "reason": "abuse"},
    )
    await month.ask("POST", f"{charges}/{month.charge_id}/refund", seller, refund)
    await month.ask("POST", f"{charges}/{month.charge_id}/slash", seller, slash, 204)


async def bill(month: Month) -> None:
    """On the month's plan, from its first second; the job makes the invoice, and a card pays it."""
    pool = month.farebox.pool
    await month.ask(
        "POST", "/organizations/default/plan", month.caller.headers, {"plan_id": str(id_of(TEAM))}
    )
    await pool.execute("UPDATE organization_plans SET started_at = date_trunc('month', now(), 'UTC')")
    terms = drafting.terms((FREE, TEAM), month.farebox.settings.networks)
    first = datetime.now(UTC).replace(day=1, hour=2)
    while await monthly.bill(pool, terms, (first + timedelta(days=32)).replace(day=1)):
        pass
    listed = await month.data("/organizations/default/invoices", month.caller.headers)
    month.invoice_id = listed[0]["id"]
    intent = await month.ask("POST", f"/billing/invoices/{month.invoice_id}/pay", month.caller.headers)
    paid = month.stripe.succeed(intent["data"]["payment_intent_id"])
    await month.told(month.stripe.told("payment_intent.succeeded", paid))


async def pay_out(month: Month) -> None:
    farebox = month.farebox
    wanted = {"destination_wallet": RECEIVER, "amount_atomic": 150 * CENT, "description": "my earnings"}
    payouts = "/billing/publishers/shop/payouts"
    month.payout_id = (await month.ask("POST", payouts, farebox.publisher.headers, wanted))["id"]
    await farebox.chain.mint(farebox.token, farebox.platform_wallet, 10**6)
    key = farebox.chain.accounts[1].address
    allowance = APPROVE + token.word(key) + (10**7).to_bytes(32)
    await farebox.chain.transact(farebox.token, allowance, sender=farebox.chain.accounts[3])
    async with based(farebox.settings, farebox.origin) as base:
        for _ in range(2):
            await farebox.pool.execute("UPDATE payouts SET asked_at = NULL")
            await work.pay_out(base)
    assert await farebox.chain.balance(farebox.token, RECEIVER) == 150 * CENT


async def test_a_month_and_what_every_screen_says_of_it(month: Month) -> None:
    await live_through(month)
    await rollups.roll_up(month.farebox.pool)
    await the_wallet(month)
    await the_publisher(month)
    await the_bill(month)
    await the_platform(month)
    compared = runs.compare(month.farebox.pool, month.farebox.settings, month.processors, LATELY)
    results = [one async for one in compared]
    assert [one for one in results if one.differences or one.obstacle] == []
    assert {one.name for one in results} >= {"invoiced", "cards", "payouts", "granted", "stripe", "chain"}


# Six dollars came in; five calls cost 1.25, of which 0.60 were given; a dollar was charged, 0.40 of it given
# back, and 0.10 taken for it.
LEFT = 600 - (125 - 60) - 100 + 40 - 10


async def the_wallet(month: Month) -> None:
    who = month.caller.headers
    balance = await month.data("/wallet/balance", who)
    assert balance["balance_atomic"] == LEFT * CENT
    (asset,) = [one for one in balance["assets"] if one["funded_atomic"]]
    assert (asset["funded_atomic"], asset["promotional_atomic"], asset["held_atomic"]) == (LEFT * CENT, 0, 0)
    summary = await month.data("/wallet/transactions/summary", who)
    assert summary["ending_balance_atomic"] == LEFT * CENT
    lines = (await month.data("/wallet/transactions?limit=100&include_usage=true", who))["transactions"]
    signed = [one["amount_atomic"] * (1 if one["direction"] == "credit" else -1) for one in lines]
    assert sum(signed) == LEFT * CENT
    assert summary["total_credits_atomic"] - summary["total_debits_atomic"] == sum(signed)
    async with month.farebox.session.get(
        f"{month.farebox.origin}/wallet/transactions/export", headers=who
    ) as response:
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert sum(int(row["amount_atomic"]) for row in rows) == LEFT * CENT
    assert sorted(row["source"] for row in rows) == sorted(
        one["source"] for one in lines for _ in range(one["call_count"] or 1)
    )


# Six calls and the charge, less a tenth; of the refund its part; all of the penalty.
CALLED = 125 + 25
EARNED = (CALLED + 100 - 40) * 9 // 10 + 10


async def the_publisher(month: Month) -> None:
    who, at = month.farebox.publisher.headers, f"/organizations/default/publishers/{month.publisher_id}"
    (earned,) = await month.data(f"{at}/earnings", who)
    assert earned["total_revenue_atomic"] == EARNED * CENT
    assert earned["total_withdrawn_atomic"] == 150 * CENT
    assert earned["pending_payout_atomic"] == 0
    assert earned["available_atomic"] == (EARNED - 150) * CENT
    assert earned["request_count"] == 7
    revenue = await month.data(f"{at}/analytics/revenue", who)
    assert revenue["total_revenue_atomic"] == (CALLED + 100) * CENT
    assert (revenue["refunded_atomic"], revenue["charged_queries"]) == (40 * CENT, 7)
    days = await month.data(f"{at}/analytics/revenue-by-day", who)
    agents = await month.data(f"{at}/analytics/top-agents", who)
    routes = await month.data(f"{at}/analytics/routes", who)
    assert sum(one["revenue_atomic"] for one in days) == (CALLED + 100) * CENT
    assert sum(one["total_spent_atomic"] for one in agents) == (CALLED + 100) * CENT
    # What was charged without a call is on no route.
    assert sum(one["revenue_atomic"] for one in routes) == CALLED * CENT
    assert (revenue["direct_charges"], revenue["direct_charges_atomic"]) == (1, 100 * CENT)
    shown = await month.ask("GET", f"/billing/publishers/shop/charges/{month.charge_id}", who)
    assert (shown["refunded_atomic"], shown["slashed_atomic"]) == (40 * CENT, 10 * CENT)
    payout = await month.ask("GET", f"/billing/publishers/shop/payouts/{month.payout_id}", who)
    assert (payout["status"], payout["amount_atomic"]) == ("completed", 150 * CENT)
    assert payout["destination_wallet"] == to_checksum_address(RECEIVER)


async def the_bill(month: Month) -> None:
    who = month.caller.headers
    invoice = await month.data(f"/billing/invoices/{month.invoice_id}", who)
    assert (invoice["status"], invoice["total_usd"]) == ("paid", "30.00")
    lines = invoice["line_items"]
    assert sum(Decimal(one["amount_usd"]) for one in lines) == 30
    calls = [one for one in lines if one["line_type"] == "calls"]
    # What a wallet pays on chain without a key is nobody's to be billed for.
    assert sum(one["amount_atomic"] for one in calls) == (125 + 100) * CENT
    (paid,) = (await month.data(f"/billing/invoices/{month.invoice_id}/payments", who))["payments"]
    assert (paid["status"], paid["amount_usd"]) == ("paid", "30.00")
    quota = await month.data("/organizations/default/quota", who)
    (used,) = [one["used"] for one in quota["quotas"] if one["quota"] == "calls_per_month"]
    assert used == 6
    consumption = await month.data("/organizations/default/consumption", who)
    assert consumption["current_month"]["active_time_seconds"] == 0


async def the_platform(month: Month) -> None:
    (budget,) = await month.data("/platform/promotions", month.operator)
    assert (await month.posted("promotion_budget"), await month.posted("promotional")) == (940 * CENT, 0)
    assert (budget["budget_atomic"], budget["outstanding_atomic"]) == (940 * CENT, 0)
    assert await month.posted("revenue") == 3000 * CENT
    assert await month.posted("fees") == (CALLED + 100 - 40) // 10 * CENT
    assert await month.posted("payouts") == 0
    assert await month.posted("stripe") == -(500 + 3000) * CENT
    assert await month.posted("chain") == -(100 + 25 - 150) * CENT
    assert await month.posted("bank") == -1000 * CENT
    assert await month.farebox.is_sound()


TAMPERED = [
    (
        "UPDATE accounts SET posted = posted + 1, held = held + 1 WHERE kind = 'promotional'",
        {"held", "posted", "sums", "promotional"},
    ),
    ("UPDATE grants SET spent = spent - 1, closed_at = NULL", {"promotional"}),
    (
        "UPDATE grants SET held = held + 1, amount = amount + 1, closed_at = NULL",
        {"promotional", "drawn", "granted"},
    ),
    ("UPDATE hold_grants SET amount = amount + 1", {"drawn"}),
    ("DELETE FROM hold_grants", {"drawn"}),
    ("UPDATE grants SET cause_id = gen_random_uuid()", {"granted"}),
    ("UPDATE charges SET amount = amount + 1", {"charges"}),
    ("UPDATE charges SET refunded = refunded + 1", {"charges"}),
    ("UPDATE charge_changes SET amount = amount + 1 WHERE kind = 'refund'", {"charges", "refunds"}),
    ("DELETE FROM charge_changes WHERE kind = 'slash'", {"charges", "refunds"}),
    ("UPDATE payouts SET amount = amount - 1", {"payouts"}),
    ("UPDATE payouts SET state = 'submitted', closed_at = NULL", {"payouts", "leaving"}),
    ("UPDATE payouts SET state = 'returned'", {"payouts"}),
    ("DELETE FROM payouts", {"payouts"}),
    ("UPDATE accounts SET posted = posted + 1 WHERE kind = 'payouts'", {"posted", "sums", "leaving"}),
    ("UPDATE invoices SET total_cents = total_cents + 1", {"totals", "invoices"}),
    ("UPDATE invoices SET status = 'issued', paid_at = NULL", {"invoices"}),
    ("UPDATE invoices SET paid_source = 'wallet'", {"invoices"}),
    ("UPDATE invoices SET number = number + 1", {"numbers"}),
    ("UPDATE invoice_lines SET amount_cents = amount_cents + 1 WHERE line_type = 'plan'", {"totals"}),
    (
        "UPDATE invoice_lines SET amount_atomic = amount_atomic + 1 WHERE line_type = 'calls'",
        {"invoiced"},
    ),
    ("UPDATE earned_totals SET earned = earned + 1", {"earned"}),
    ("UPDATE card_payments SET invoice_cause_id = gen_random_uuid() WHERE purpose = 'invoice'", {"cards"}),
    ("UPDATE invoices SET cause_id = gen_random_uuid()", {"invoices"}),
    ("UPDATE usage_days SET cost = cost + 1 WHERE rail = 'prepaid'", {"days", "invoiced"}),
    ("UPDATE card_payments SET amount = amount + 1 WHERE purpose = 'deposit'", {"cards"}),
    ("UPDATE card_payments SET state = 'open', booked_as = NULL", {"cards"}),
    (
        "INSERT INTO card_reversals"
        " (id, payment_id, provider, provider_id, kind, amount_cents, amount, taken)"
        " SELECT id, id, provider, 're_1', 'refund', 1, 10000, 10000 FROM card_payments LIMIT 1",
        {"reversals"},
    ),
]


async def test_whatever_somebody_changes_is_named(month: Month) -> None:
    """Each change is taken back before the next."""
    await live_through(month)
    await rollups.roll_up(month.farebox.pool)
    wrong = []
    async with month.farebox.pool.acquire() as db:
        for statement, expected in TAMPERED:
            undone = db.transaction()
            await undone.start()
            # As only somebody could who has the database, or a bug in a trigger.
            await db.execute("SET LOCAL session_replication_role = replica")
            done = await db.execute(statement)
            found = {name for name in books.CHECKS if await db.fetch(getattr(books.SQL, name), 100)}
            await undone.rollback()
            if found != expected or done.endswith(" 0"):
                wrong.append((statement, done, found))
    assert wrong == []


async def test_what_stripe_says_is_compared_both_ways(month: Month, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "SECOND_LOOK_SECONDS", 0)
    await deposit(month)
    farebox, stripe = month.farebox, month.stripe

    async def found() -> list[tuple[str, str]]:
        compared = cards.compare(farebox.pool, month.processors, LATELY)
        return [(one.expected, one.found) async for result in compared for one in result.differences]

    assert await found() == []
    # Paid there, and the webhook never came.
    made = await month.ask("POST", "/wallet/deposit", month.caller.headers, {"amount_cents": 700})
    session = stripe.pay(made["data"]["checkout_url"].rpartition("/")[2])
    assert await found() == [("700 cents", "nothing")]
    await month.told(stripe.told("checkout.session.completed", session))
    assert await found() == []
    # Begun long ago, it is asked for by its name.
    stripe.objects[session["payment_intent"]]["created"] -= 10_000_000
    assert await found() == []
    stripe.objects[session["payment_intent"]]["amount_received"] = 699
    assert await found() == [("699 cents", "700 cents")]
    del stripe.objects[session["payment_intent"]]
    assert await found() == [("nothing", "700 cents")]
    stripe.is_down = True
    away = [one async for one in cards.compare(farebox.pool, month.processors, LATELY)]
    assert [one.obstacle is not None for one in away] == [True, True]
    nobody = [one async for one in cards.compare(farebox.pool, Processors(), LATELY)]
    assert nobody == []
