"""An invoice is paid once: by card, or from the wallet, and what comes too late is credited."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger.accounts import PLATFORM
from tests.control.cards import Till
from tests.control.cards import stripe as stripe
from tests.control.cards import till as till
from tests.control.conftest import TEST_USDC, Client, join

CENT = 10_000
INSERT = """
INSERT INTO invoices
    (id, organization_id, asset_id, mode, month, status, number, total_cents, issued_at, voided_at)
VALUES ($1, $2, $3, 'test', $4::text::date, $5, CASE WHEN $5 <> 'draft' THEN $6::bigint END, $7,
    CASE WHEN $5 <> 'draft' THEN now() END, CASE WHEN $5 = 'void' THEN now() END)
"""


async def issued(till: Till, cents: int = 1234, status: str = "issued", month: str = "2026-10-01") -> str:
    """Straight into the table, as if it had been drafted and issued."""
    invoice_id = ids.new()
    number = await till.pool.fetchval("SELECT count(*) + 1 FROM invoices")
    await till.pool.execute(INSERT, invoice_id, till.organization_id, TEST_USDC, month, status, number, cents)
    return str(invoice_id)


async def begin(till: Till, invoice_id: str) -> Any:
    response = await till.client.post(f"/billing/invoices/{invoice_id}/pay")
    assert response.status == 200, await response.text()
    return (await response.json())["data"]


async def history(till: Till, invoice_id: str) -> list[tuple[str, str]]:
    response = await till.client.get(f"/billing/invoices/{invoice_id}/payments")
    assert response.status == 200, await response.text()
    return [(one["source"], one["status"]) for one in (await response.json())["data"]["payments"]]


async def succeed(till: Till, intent_id: str) -> None:
    await till.tell("payment_intent.succeeded", till.stripe.succeed(intent_id))
    assert await till.work() == 1


async def status(till: Till, invoice_id: str) -> str:
    return str(await till.pool.fetchval("SELECT status FROM invoices WHERE id = $1", UUID(invoice_id)))


async def revenue(till: Till) -> int:
    return await till.balance(PLATFORM, "revenue") // CENT


async def test_an_invoice_is_paid_by_card(till: Till) -> None:
    invoice_id = await issued(till)
    made = await begin(till, invoice_id)
    assert made["client_secret"].startswith(made["payment_intent_id"] + "_secret_")
    assert (made["amount_cents"], made["amount_usd"], made["currency"]) == (1234, "12.34", "usd")
    assert (await history(till, invoice_id), await status(till, invoice_id)) == (
        [("stripe", "open")],
        "issued",
    )
    await succeed(till, made["payment_intent_id"])
    assert (await history(till, invoice_id), await status(till, invoice_id)) == ([("stripe", "paid")], "paid")
    assert (await revenue(till), await till.cleared(), await till.balance()) == (1234, -1234 * CENT, 0)


async def test_everybody_who_asks_at_once_gets_the_same_payment(till: Till) -> None:
    invoice_id = await issued(till)
    made = await asyncio.gather(*(begin(till, invoice_id) for _ in range(5)))
    assert len({one["payment_intent_id"] for one in made}) == 1
    assert len([one for one in till.stripe.objects.values() if one["object"] == "payment_intent"]) == 1


async def test_a_crash_before_the_intent_is_known_makes_no_second_one(till: Till, pool: Pool) -> None:
    invoice_id = await issued(till)
    till.stripe.is_forgetful = True
    response = await till.client.post(f"/billing/invoices/{invoice_id}/pay")
    assert (response.status, (await response.json())["code"]) == (503, "payment-processor-unavailable")
    till.stripe.is_forgetful = False
    made = await begin(till, invoice_id)
    assert len([one for one in till.stripe.objects.values() if one["object"] == "payment_intent"]) == 1
    await succeed(till, made["payment_intent_id"])
    assert await status(till, invoice_id) == "paid"


async def test_a_card_that_is_refused_may_be_tried_again(till: Till) -> None:
    invoice_id = await issued(till)
    made = await begin(till, invoice_id)
    await till.tell("payment_intent.payment_failed", till.stripe.decline(made["payment_intent_id"]))
    await till.work()
    response = await till.client.get(f"/billing/invoices/{invoice_id}/payments")
    (record,) = (await response.json())["data"]["payments"]
    assert (record["status"], record["failure_code"]) == ("failed", "card_declined")
    assert record["failed_at"] is not None
    assert (await begin(till, invoice_id))["payment_intent_id"] == made["payment_intent_id"]
    await succeed(till, made["payment_intent_id"])
    assert await history(till, invoice_id) == [("stripe", "paid")]
    response = await till.client.get(f"/billing/invoices/{invoice_id}/payments")
    (record,) = (await response.json())["data"]["payments"]
    assert (record["failed_at"], record["failure_code"], record["failure_message"]) == (None, None, None)


async def test_an_intent_that_was_canceled_is_followed_by_another(till: Till) -> None:
    invoice_id = await issued(till)
    made = await begin(till, invoice_id)
    till.stripe.cancel_intent({}, made["payment_intent_id"])
    await till.tell("payment_intent.canceled", till.stripe.objects[made["payment_intent_id"]])
    await till.work()
    again = await begin(till, invoice_id)
    assert again["payment_intent_id"] != made["payment_intent_id"]
    assert await history(till, invoice_id) == [("stripe", "canceled"), ("stripe", "open")]


async def test_an_invoice_is_paid_from_the_wallet(till: Till) -> None:
    invoice_id = await issued(till, 400)
    path = f"/billing/invoices/{invoice_id}/pay/wallet"
    response = await till.client.post(path)
    assert (response.status, (await response.json())["code"]) == (402, "balance-too-low")
    await till.paid(1000)
    made = await begin(till, await issued(till, 700, month="2026-09-01"))
    response = await till.client.post(path)
    record = (await response.json())["data"]
    assert (response.status, record["source"], record["status"]) == (200, "wallet", "paid")
    assert (await till.balance(), await revenue(till)) == (600 * CENT, 400)
    assert (await history(till, invoice_id), await status(till, invoice_id)) == ([("wallet", "paid")], "paid")
    response = await till.client.post(path)
    assert (response.status, (await response.json())["code"]) == (400, "invoice-not-payable")
    assert till.stripe.objects[made["payment_intent_id"]]["status"] != "canceled", "it is another invoice's"


async def test_wallets_pay_an_invoice_once(till: Till) -> None:
    invoice_id = await issued(till, 500)
    await till.paid(2000)
    path = f"/billing/invoices/{invoice_id}/pay/wallet"
    responses = await asyncio.gather(*(till.client.post(path) for _ in range(5)))
    assert sorted(one.status for one in responses) == [200, 400, 400, 400, 400]
    assert (await till.balance(), await revenue(till)) == (1500 * CENT, 500)


async def test_paying_from_the_wallet_ends_what_was_begun_by_card(till: Till) -> None:
    invoice_id = await issued(till, 500)
    await till.paid(1000)
    made = await begin(till, invoice_id)
    assert (await till.client.post(f"/billing/invoices/{invoice_id}/pay/wallet")).status == 200
    assert till.stripe.objects[made["payment_intent_id"]]["status"] == "canceled"
    assert await history(till, invoice_id) == [("stripe", "canceled"), ("wallet", "paid")]


async def test_what_a_card_has_paid_is_not_paid_from_the_wallet_as_well(till: Till) -> None:
    invoice_id = await issued(till, 500)
    await till.paid(1000)
    made = await begin(till, invoice_id)
    intent = till.stripe.succeed(made["payment_intent_id"])
    response = await till.client.post(f"/billing/invoices/{invoice_id}/pay/wallet")
    assert (response.status, (await response.json())["code"]) == (400, "invoice-not-payable")
    await till.tell("payment_intent.succeeded", intent)
    await till.work()
    assert (await till.balance(), await revenue(till)) == (1000 * CENT, 500)
    assert await history(till, invoice_id) == [("stripe", "paid")]


async def test_what_is_paid_by_card_too_late_is_credited(till: Till, pool: Pool) -> None:
    invoice_id = await issued(till, 500)
    made = await begin(till, invoice_id)
    await pool.execute("UPDATE invoices SET status = 'void', voided_at = now()")
    await succeed(till, made["payment_intent_id"])
    assert (await till.balance(), await revenue(till)) == (500 * CENT, 0)
    assert await history(till, invoice_id) == [("stripe", "credited")]


async def test_a_refund_of_a_paid_invoice_is_the_platforms(till: Till) -> None:
    invoice_id = await issued(till, 500)
    made = await begin(till, invoice_id)
    await succeed(till, made["payment_intent_id"])
    refund = till.stripe.refund(made["payment_intent_id"], 200)
    await till.tell("refund.created", refund)
    await till.work()
    assert (await revenue(till), await till.cleared()) == (300, -300 * CENT)


@pytest.mark.parametrize(("state", "cents"), [("draft", 500), ("void", 500), ("issued", 49), ("issued", 0)])
async def test_what_is_not_payable_is_refused(till: Till, state: str, cents: int) -> None:
    invoice_id = await issued(till, cents, state)
    response = await till.client.post(f"/billing/invoices/{invoice_id}/pay")
    # A draft is read by its organization, so that it is not told that there is none.
    assert (response.status, (await response.json())["code"]) == (400, "invoice-not-payable")


async def test_the_invoice_of_others_is_unknown(till: Till, pool: Pool) -> None:
    invoice_id = await issued(till)
    other = await join(pool)
    for asked in (invoice_id, str(uuid4())):
        for method, path in (("POST", "pay"), ("POST", "pay/wallet"), ("GET", "payments")):
            url = f"/billing/invoices/{asked}/{path}"
            response = await till.client.request(method, url, headers=other.headers)
            assert response.status == 404, url


async def test_without_stripe_the_setting_is_named(client: Client) -> None:
    response = await client.post(f"/billing/invoices/{uuid4()}/pay")
    assert (response.status, (await response.json())["code"]) == (503, "card-payments-not-configured")
