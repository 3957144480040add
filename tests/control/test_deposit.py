"""Deposits by card: begun here, paid at Stripe, credited once by its word."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from gateway.kit.sql import Pool
from tests.control.cards import Till
from tests.control.cards import stripe as stripe
from tests.control.cards import till as till
from tests.control.conftest import TEST_USDC, Client, Member, bearer, join, refused_fields

CENT = 10_000


async def test_what_is_paid_on_the_page_is_in_the_wallet(till: Till) -> None:
    made = await till.deposit(1234)
    assert {name: made[name] for name in made if name not in ("deposit_id", "checkout_url")} == {
        "asset_id": str(TEST_USDC), "amount_atomic": 12_340_000, "amount_usd": "12.34", "bonus_atomic": 0,
        "bonus_usd": "0", "total_atomic": 12_340_000, "total_usd": "12.34",
    }  # fmt: skip
    assert made["checkout_url"].startswith("https://checkout.stripe.com/c/pay/cs_test_")
    assert await till.balance() == 0
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    await till.tell("checkout.session.completed", session)
    assert (await status(till, made)) == "open"
    assert await till.work() == 1
    assert (await till.balance(), await till.cleared()) == (1234 * CENT, -1234 * CENT)
    assert (await status(till, made), await till.events()) == ("paid", [("done", None)])


async def status(till: Till, made: Any) -> str:
    response = await till.client.get(f"/wallet/deposit/{made['deposit_id']}")
    assert response.status == 200
    return str((await response.json())["data"]["status"])


async def test_an_unpaid_page_is_worth_nothing(till: Till) -> None:
    made = await till.deposit()
    session = till.stripe.objects[await till.session_of(made["deposit_id"])]
    # A bank transfer that takes days: complete, and not paid.
    session["status"] = "complete"
    await till.tell("checkout.session.completed", session)
    await till.work()
    assert (await till.balance(), await status(till, made)) == (0, "open")
    till.stripe.pay(session["id"])
    await till.tell("checkout.session.async_payment_succeeded", session)
    await till.work()
    assert (await till.balance(), await status(till, made)) == (1000 * CENT, "paid")


async def test_a_page_expires(till: Till) -> None:
    made = await till.deposit()
    await till.tell("checkout.session.expired", till.stripe.expire(await till.session_of(made["deposit_id"])))
    await till.work()
    assert (await till.balance(), await status(till, made)) == (0, "expired")


async def test_events_that_come_late_change_nothing(till: Till) -> None:
    made = await till.deposit()
    session_id = await till.session_of(made["deposit_id"])
    early = dict(till.stripe.objects[session_id])
    session = till.stripe.pay(session_id)
    await till.tell("payment_intent.succeeded", till.stripe.objects[session["payment_intent"]])
    await till.tell("checkout.session.completed", session)
    await till.tell("checkout.session.expired", early)
    await till.work()
    assert (await till.balance(), await status(till, made)) == (1000 * CENT, "paid")
    assert await till.events() == [("done", None)] * 3


async def test_the_same_key_is_the_same_deposit(till: Till) -> None:
    key = {"Idempotency-Key": "once"}
    made = await asyncio.gather(*(till.deposit(1000, **key) for _ in range(5)))
    assert [one == made[0] for one in made] == [True] * 5
    assert [kind for kind in till.stripe.objects.values() if kind["object"] == "checkout.session"][1:] == []
    response = await till.client.post("/wallet/deposit", json={"amount_cents": 1001}, headers=key)
    assert (response.status, (await response.json())["code"]) == (409, "idempotency-key-reused")


async def test_a_crash_before_the_answer_makes_no_second_page(till: Till, pool: Pool) -> None:
    till.stripe.is_forgetful = True
    headers = {"Idempotency-Key": "crashed"}
    response = await till.client.post("/wallet/deposit", json={"amount_cents": 1000}, headers=headers)
    assert (response.status, (await response.json())["code"]) == (503, "payment-processor-unavailable")
    row = await pool.fetchrow("SELECT id, session_id, state FROM card_payments")
    assert row is not None
    assert (row["session_id"], row["state"]) == (None, "created")
    till.stripe.is_forgetful = False
    made = await till.deposit(1000, **headers)
    assert made["deposit_id"] == str(row["id"])
    assert len([one for one in till.stripe.objects.values() if one["object"] == "checkout.session"]) == 1


async def test_what_was_paid_before_we_knew_its_page_is_credited(till: Till, pool: Pool) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    # As after a crash between Stripe's answer and our row.
    await pool.execute("UPDATE card_payments SET session_id = NULL, url = NULL, state = 'created'")
    await till.tell("checkout.session.completed", session)
    await till.work()
    assert (await till.balance(), await till.session_of(made["deposit_id"])) == (1000 * CENT, session["id"])


async def test_stripe_being_away_is_503(till: Till, pool: Pool) -> None:
    till.stripe.is_down = True
    response = await till.client.post("/wallet/deposit", json={"amount_cents": 1000})
    assert (response.status, (await response.json())["code"]) == (503, "payment-processor-unavailable")
    assert await pool.fetchval("SELECT state FROM card_payments") == "created"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body/amount_cents"),
        ({"amount_cents": 499}, "body/amount_cents"),
        ({"amount_cents": 30_001}, "body/amount_cents"),
        ({"amount_cents": "1000"}, "body/amount_cents"),
        ({"amount_cents": 10.5}, "body/amount_cents"),
        ({"amount_cents": 10**30}, "body/amount_cents"),
        ({"amount_cents": 1000, "referral_code": "x" * 65}, "body/referral_code"),
        ({"amount_cents": 1000, "card": "4242424242424242"}, "body/card"),
        ({"amount_cents": 1000, "provider": "paypal"}, "body/provider"),
    ],
)
async def test_what_is_no_deposit_is_refused(till: Till, body: Any, field: str) -> None:
    assert await refused_fields(await till.client.post("/wallet/deposit", json=body)) == [field]


async def test_without_a_key_the_setting_is_named(client: Client) -> None:
    for path, body in (("/wallet/deposit", {"amount_cents": 1000}), ("/webhooks/stripe", {})):
        response = await client.post(path, json=body)
        problem = await response.json()
        assert (response.status, problem["code"]) == (503, "card-payments-not-configured"), problem
        assert "FAREBOX_STRIPE__SECRET_KEY" in problem["detail"]


async def test_a_test_key_of_stripe_takes_no_live_money(till: Till, pool: Pool, member: Member) -> None:
    live = await bearer(pool, member.id, mode="live")
    response = await till.client.post("/wallet/deposit", json={"amount_cents": 1000}, headers=live)
    assert (response.status, (await response.json())["code"]) == (503, "card-payments-not-configured")


async def test_a_deposit_of_others_is_unknown(till: Till, pool: Pool) -> None:
    made = await till.deposit()
    other = await join(pool)
    for path in (made["deposit_id"], str(UUID(int=7))):
        response = await till.client.get(f"/wallet/deposit/{path}", headers=other.headers)
        assert response.status == 404
