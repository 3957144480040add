"""Payments that settle before the upstream is asked."""

import asyncio
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from control.agent.client import decode, encode
from control.agent.wallet import sign_payment
from control.roles.base import based
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Farebox, serving
from tests.waiting import until

QUARTER = DOLLAR // 4


@pytest.fixture
def network() -> dict[str, Any]:
    return {"settle_timeout_seconds": 1}


async def in_balance(farebox: Farebox) -> int:
    """What the payer's own organization can spend."""
    owner = await farebox.pool.fetchval(
        "SELECT organization_id FROM agent_wallets WHERE address = $1", farebox.payer
    )
    if owner is None:
        return 0
    posted, held = await Ledger(farebox.pool).balance(UUID(str(owner)), farebox.asset, "funded")
    return posted - held


async def test_the_money_is_there_before_the_upstream_is_asked(farebox: Farebox) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/order"
    seen: list[int] = []

    async def count(request: web.Request) -> web.StreamResponse:
        seen.append(await farebox.chain.balance(farebox.token, farebox.platform_wallet))
        return web.json_response({"ordered": 1})

    farebox.upstream.handler = count
    challenge = await farebox.agent.ask("POST", url)
    assert challenge.offers[0]["extra"]["paymentFlow"] == "upfront"
    paid = await farebox.agent.pay("POST", url, challenge)
    assert (paid.status, paid.json["ordered"]) == (200, 1)
    assert paid.payment["success"] is True
    assert "extra" not in paid.payment
    assert seen == [QUARTER]
    assert await farebox.earned() == (QUARTER * 9 // 10, QUARTER // 10)
    assert await in_balance(farebox) == 0
    assert await farebox.is_sound()


async def test_an_endpoint_decides_for_itself(farebox: Farebox) -> None:
    endpoints = [
        {"method": "GET", "path": "/usual", "payment_flow": "authorization"},
        {"method": "GET", "path": "/other"},
    ]
    url = await farebox.publish(payment_flow="upfront", endpoints=endpoints)
    usual = await farebox.agent.ask("GET", url + "/usual")
    other = await farebox.agent.ask("GET", url + "/other")
    assert "paymentFlow" not in usual.offers[0]["extra"]
    assert other.offers[0]["extra"]["paymentFlow"] == "upfront"


async def refuse(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "sold out"}, status=500)


async def vanish(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(("handler", "status"), [(refuse, 500), (vanish, 502)])
async def test_a_call_that_fails_leaves_the_money_in_the_payers_balance(
    farebox: Farebox, handler: Any, status: int
) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/order"
    farebox.upstream.handler = handler
    paid = await farebox.pay("POST", url)
    assert paid.status == status
    # The chain has charged it, and the answer says so and where the money is.
    assert paid.payment["success"] is True
    assert paid.payment["extra"] == {"paymentFlow": "upfront", "creditedToBalance": str(QUARTER)}
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    assert await farebox.earned() == (0, 0)
    await until(lambda: has(farebox, QUARTER))
    assert await farebox.is_sound()


async def has(farebox: Farebox, amount: int) -> bool:
    return await in_balance(farebox) == amount


async def test_the_balance_is_the_organizations_of_the_key_that_came_along(farebox: Farebox) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/order"
    farebox.upstream.handler = refuse
    account = await farebox.sign_up()
    # With an empty balance, a key alone is asked to pay.
    challenge = await farebox.agent.ask("POST", url, headers=account.headers)
    assert challenge.status == 402
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    failed = await farebox.agent.ask("POST", url, headers={**account.headers, **payment})
    assert failed.status == 500
    assert await farebox.balance(account) == QUARTER
    # And what is there pays for the next call.
    farebox.upstream.handler = None
    assert (await farebox.agent.ask("POST", url, headers=account.headers)).status == 200
    assert await farebox.balance(account) == 0


async def test_a_payer_that_nobody_knew_gets_the_key_to_its_balance(farebox: Farebox) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/order"
    farebox.upstream.handler = refuse
    key = (await farebox.pay("POST", url)).headers["X-Farebox-Api-Key"]
    # Once: it is stored nowhere.
    assert "X-Farebox-Api-Key" not in (await farebox.pay("POST", url)).headers
    headers = {"Authorization": f"Bearer {key}"}
    balance = await farebox.agent.ask("GET", f"{farebox.origin}/wallet/balance", headers=headers)
    assert balance.json["data"]["balance_atomic"] == 2 * QUARTER
    farebox.upstream.handler = None
    assert (await farebox.agent.ask("POST", url, headers=headers)).status == 200
    assert farebox.upstream.seen[-1].headers.get("X-Farebox-Api-Key") is None


async def test_fifty_requests_with_one_payment_give_one_answer(farebox: Farebox) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/order"
    challenge = await farebox.agent.ask("POST", url)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    replies = await asyncio.gather(*(farebox.agent.ask("POST", url, headers=payment) for _ in range(50)))
    new = [one for one in replies if one.status == 200 and "Idempotent-Replayed" not in one.headers]
    assert len(new) == 1
    assert {one.text for one in replies if one.status == 200} == {new[0].text}
    assert {reply.status for reply in replies} <= {200, 409, 503}
    assert len(farebox.upstream.seen) == 1
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    owners = await farebox.pool.fetchval("SELECT count(*) FROM agent_wallets")
    assert owners == 1
    assert await farebox.is_sound()


async def test_a_settlement_that_comes_too_late_is_in_the_balance(farebox: Farebox) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/order"
    challenge = await farebox.agent.ask("POST", url)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    farebox.chain.node.is_automining = False
    late = await farebox.agent.ask("POST", url, headers=payment)
    assert (late.status, late.json["code"]) == (503, "settlement_pending")
    assert farebox.upstream.seen == []
    await farebox.chain.run(farebox.chain.node.mine_waiting)
    async with based(farebox.settings, farebox.origin) as base:
        assert await base.settlements.reconcile(timedelta(0)) == 1
    assert await in_balance(farebox) == QUARTER
    again = await farebox.agent.ask("POST", url, headers=payment)
    assert (again.status, again.json["code"]) == (409, "payment-already-used")
    assert again.payment["extra"] == {"creditedToBalance": str(QUARTER)}
    assert await farebox.is_sound()


async def test_a_payer_that_did_not_accept_the_flow_does_not_pay(farebox: Farebox) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/order"
    challenge = await farebox.agent.ask("POST", url)
    payment = decode(farebox.agent.sign(challenge))
    del payment["accepted"]["extra"]["paymentFlow"]
    refused = await farebox.agent.ask("POST", url, headers={"PAYMENT-SIGNATURE": encode(payment)})
    assert (refused.status, refused.json["error"]) == (402, "invalid_payment_requirements")


async def test_a_client_of_version_1_pays_upfront_as_well(farebox: Farebox) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/order"
    offer = (await farebox.agent.ask("GET", url)).json["accepts"][0]
    payload = sign_payment(
        farebox.agent.private_key, offer, int(time.time()), chain_id=farebox.chain.chain_id
    )
    payment = {"x402Version": 1, "scheme": "exact", "network": offer["network"], "payload": payload}
    paid = await farebox.agent.ask("GET", url, headers={"X-PAYMENT": encode(payment)})
    assert paid.status == 200


async def test_what_cannot_be_given_back_is_not_taken_upfront(farebox: Farebox) -> None:
    """Without a wallet of the platform's own, the publisher would have the money of a failed call."""
    (network,) = farebox.settings.networks
    direct = farebox.settings.model_copy(update={"networks": (network.model_copy(update={"pay_to": None}),)})
    shop = await farebox.publish(payment_flow="upfront")
    async with serving(direct) as origin:
        challenge = await farebox.agent.ask("POST", shop.replace(farebox.origin, origin) + "/order")
    assert challenge.status == 402
    assert challenge.offers == []
