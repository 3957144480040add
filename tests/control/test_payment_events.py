"""What Stripe tells: believed if it is signed, done once, and looked at by the operator."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from stripe import WebhookSignature

from control.processors import events, jobs
from control.processors.jobs import Clerk
from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew
from tests.control.cards import NEW_SECRET, Till, operating, seconds_ago
from tests.control.cards import stripe as stripe
from tests.control.cards import till as till

CENT = 10_000


async def test_three_deliveries_at_once_are_one_credit(till: Till, pool: Pool) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    event = till.stripe.told("checkout.session.completed", session)
    sent = [till.stripe.signed(event) for _ in range(3)]
    assert await asyncio.gather(*(till.send(*one) for one in sent)) == [200, 200, 200]
    assert await pool.fetchval("SELECT count(*) FROM payment_events") == 1
    assert sum(await asyncio.gather(*(till.work() for _ in range(3)))) == 1
    assert (await till.balance(), await till.cleared()) == (1000 * CENT, -1000 * CENT)


async def test_many_events_of_one_payment_at_once_are_one_credit(till: Till) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    for _ in range(4):
        await till.tell("checkout.session.completed", session)
        await till.tell("payment_intent.succeeded", till.stripe.objects[session["payment_intent"]])
    assert sum(await asyncio.gather(*(till.work() for _ in range(3)))) == 8
    assert await till.events() == [("done", None)] * 8
    assert await till.balance() == 1000 * CENT


async def test_what_is_not_signed_is_refused(till: Till, pool: Pool) -> None:
    event = till.stripe.told("checkout.session.completed", {"id": "cs_test_1"})
    body, good = till.stripe.signed(event)
    _, old = till.stripe.signed(event, seconds_ago(301))
    _, early = till.stripe.signed(event, seconds_ago(-3600))
    _, wrong = till.stripe.signed(event, secret="whsec_other")
    for sent, signature in (
        (body, ""),
        (body, "nonsense"),
        (body, "t=,v1="),
        (body, "t=1"),
        (body, wrong),
        (body, old),
        (body.replace(b"cs_test_1", b"cs_test_2"), good),
        (body, good.replace("v1=", "v0=")),
        (b"\xff\xfe", good),
        (b"", good),
    ):
        assert await till.send(sent, signature) == 400, signature
    assert await pool.fetchval("SELECT count(*) FROM payment_events") == 0
    # Stripe's own library lets what is early pass: clocks differ, and it still cannot be forged.
    assert await till.send(body, early) == 200


async def test_both_secrets_are_good_while_one_is_replaced(till: Till, pool: Pool) -> None:
    for secret in (NEW_SECRET, till.stripe.secret):
        body, signature = till.stripe.signed(till.stripe.told("product.created", {}), secret=secret)
        assert await till.send(body, signature) == 200
    assert await pool.fetchval("SELECT count(*) FROM payment_events") == 2


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"id": 7, "type": "x"}', b'{"id": "evt_1"}', b"{"])
async def test_what_is_signed_and_no_event_is_refused(till: Till, body: bytes) -> None:
    header = WebhookSignature.generate_signature_header(body.decode(), till.stripe.secret)
    assert await till.send(body, header) == 400


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount_total": 100}, "100 of usd were paid"),
        ({"amount_total": 100_000}, "100000 of usd were paid"),
        ({"currency": "eur"}, "1000 of eur were paid"),
        ({"livemode": True}, "is of test money, and this is not"),
        ({"metadata": {"farebox_payment_id": "019a1b2c-3d4e-7f60-8a9b-0c1d2e3f4a5b"}}, "has it for payment"),
    ],
)
async def test_what_was_not_asked_for_is_not_credited(till: Till, changes: Any, words: str) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]), **changes)
    await till.tell("checkout.session.completed", session)
    await till.work()
    ((state, note),) = await till.events()
    assert (state, words in str(note)) == ("failed", True), note
    assert await till.balance() == 0


async def test_what_is_not_about_us_is_ignored(till: Till, pool: Pool) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    other = till.stripe.new("payment_intent", amount=500, status="succeeded", amount_received=500)
    await till.tell("checkout.session.completed", session, account="acct_1032D82eZvKYlo2C")
    await till.tell("checkout.session.completed", session, livemode=True)
    await till.tell("checkout.session.completed", {"id": "cs_test_of_somebody_else"})
    await till.tell("payment_intent.succeeded", other)
    await till.tell("customer.created", {"id": "cus_1"})
    await till.tell("checkout.session.completed", {})
    await till.tell("charge.refunded", {"id": "ch_1", "payment_intent": None})
    await till.work()
    assert await till.events() == [
        ("ignored", "of another account, acct_1032D82eZvKYlo2C"),
        ("ignored", "live mode of the event and of our key differ"),
        ("ignored", "the processor knows no such object under our key"),
        ("ignored", "no payment that was begun here"),
        ("ignored", "nothing here depends on this type"),
        ("ignored", "the processor knows no such object under our key"),
        ("ignored", "of no payment intent"),
    ]
    assert await till.balance() == 0


async def test_an_event_is_tried_again_while_stripe_is_away(till: Till, pool: Pool) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    await till.tell("checkout.session.completed", session)
    till.stripe.is_down = True
    assert await till.work() == 1
    assert (await till.events())[0][0] == "waiting"
    assert await till.work() == 0, "it is not due yet"
    till.stripe.is_down = False
    await pool.execute("UPDATE payment_events SET due_at = now()")
    assert await till.work() == 1
    assert (await till.balance(), (await till.events())[0][0]) == (1000 * CENT, "done")


async def test_a_worker_that_dies_is_followed_by_another(till: Till, pool: Pool) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    await till.tell("checkout.session.completed", session)
    # It died after the credit, and before it wrote that it is done.
    (leased,) = await events.lease(pool, 1, timedelta(seconds=-1), ["stripe"])
    before = Clerk(pool, till.clerk.processors)
    await before.attempt(leased)
    await pool.execute("UPDATE payment_events SET state = 'waiting'")
    assert await till.work() == 1
    assert (await till.balance(), await till.events()) == (1000 * CENT, [("done", None)])


async def test_the_clerk_outlives_what_it_cannot_do(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]))
    await till.tell("checkout.session.completed", session)
    lease, calls = events.lease, list[int]()

    async def failing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("the database is away")
        return await lease(*args)

    async def credited() -> None:
        while await till.balance() == 0:  # noqa: ASYNC110 - a job does it, and tells nobody
            await asyncio.sleep(0.05)

    monkeypatch.setattr(events, "lease", failing)
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.05)
    crew = Crew()
    crew.start(till.clerk.run())
    try:
        await asyncio.wait_for(credited(), 10)
    finally:
        await crew.close()
    assert await till.balance() == 1000 * CENT


async def test_the_operator_sees_and_retries_what_failed(till: Till, pool: Pool) -> None:
    made = await till.deposit()
    session = till.stripe.pay(await till.session_of(made["deposit_id"]), amount_total=900)
    await till.tell("checkout.session.completed", session)
    await till.work()
    operator = await operating(pool)
    response = await till.client.get(
        "/platform/payment-events?state=failed&provider=stripe", headers=operator
    )
    listed = await response.json()
    assert (response.status, listed["pagination"]["total"]) == (200, 1)
    event = listed["data"][0]
    path = f"/platform/payment-events/{event['id']}"
    response = await till.client.get(path, headers=operator)
    assert '"checkout.session.completed"' in (await response.json())["data"]["body"]
    session["amount_total"] = 1000
    response = await till.client.post(f"{path}/retry", headers=operator)
    assert (response.status, (await response.json())["data"]["state"]) == (200, "waiting")
    await till.work()
    assert (await till.balance(), await till.events()) == (1000 * CENT, [("done", None)])
    response = await till.client.post(f"{path}/retry", headers=operator)
    assert response.status == 404, "what is done is not done again"
    assert (await till.client.get(path)).status == 403
