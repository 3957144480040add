"""A deposit by card, from the request to the call that it pays: the product with its worker, and Stripe."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from control.demo.chain import Chain
from control.roles.work import work
from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew
from tests.fakes.stripe import FakeStripe, running
from tests.paths.conftest import Account, Farebox, Upstream, serving, settings_of
from tests.waiting import until


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with running(FakeStripe()) as fake:
        yield fake


@pytest.fixture
async def taking(
    database_url: str,
    pool: Pool,
    valkey: str,
    chain: Chain,
    paid_token: str,
    upstream: Upstream,
    stripe: FakeStripe,
) -> AsyncIterator[Farebox]:
    settings = settings_of(
        database_url, valkey, chain, paid_token,
        stripe={"secret_key": stripe.key, "webhook_secrets": (stripe.secret,), "api_base": stripe.url},
    )  # fmt: skip
    crew = Crew()
    async with serving(settings) as origin, ClientSession(auto_decompress=False) as session:
        farebox = await Farebox.opened(origin, settings, pool, session, chain, paid_token, upstream)
        crew.start(work(settings, on_ready=lambda: None))
        try:
            yield farebox
        finally:
            await crew.close()


async def test_a_card_pays_for_calls_and_a_dispute_takes_back_what_is_left(
    taking: Farebox, stripe: FakeStripe
) -> None:
    caller = await taking.sign_up()
    shop = await taking.publish()
    refused = await taking.agent.ask("GET", f"{shop}/x", headers=caller.headers)
    assert refused.status == 402
    url = f"{taking.origin}/wallet/deposit"
    reply = await taking.agent.ask("POST", url, headers=caller.headers, body={"amount_cents": 500})
    assert reply.status == 200, reply.text
    page = reply.json["data"]["checkout_url"]
    session = stripe.pay(page.rpartition("/")[2])
    event = stripe.told("checkout.session.completed", session)
    for _ in range(3):
        assert await tell(taking, stripe, event) == 200
    await until(lambda: has(taking, caller, 5_000_000), 15)
    reply = await taking.agent.ask("GET", f"{shop}/x", headers=caller.headers)
    assert reply.status == 200, reply.text
    await until(lambda: has(taking, caller, 4_750_000), 15)
    reply = await taking.agent.ask("GET", f"{taking.origin}/wallet/transactions", headers=caller.headers)
    said = [
        (one["direction"], one["source"], one["amount_usd"]) for one in reply.json["data"]["transactions"]
    ]
    assert ("credit", "fiat_purchase", "5") in said
    dispute = stripe.dispute(session["payment_intent"])
    assert await tell(taking, stripe, stripe.told("charge.dispute.created", dispute)) == 200
    await until(lambda: has(taking, caller, 0), 15)
    owed = await taking.pool.fetchval("SELECT sum(owed) FROM card_reversals")
    assert (owed, await taking.is_sound()) == (250_000, True)


async def tell(farebox: Farebox, stripe: FakeStripe, event: Any) -> int:
    body, signature = stripe.signed(event)
    headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
    async with farebox.session.post(
        f"{farebox.origin}/webhooks/stripe", data=body, headers=headers
    ) as response:
        return response.status


async def has(farebox: Farebox, account: Account, amount: int) -> bool:
    return await farebox.balance(account) == amount
