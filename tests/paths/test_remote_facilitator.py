"""Payments that the official x402 facilitator settles, as it comes from PyPI."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from x402 import x402FacilitatorSync
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact import ExactEvmFacilitatorScheme
from x402.schemas import PaymentPayload, PaymentRequirements

from control.demo.chain import Chain
from control.roles.base import based
from tests.paths.conftest import DOLLAR, Farebox

QUARTER = DOLLAR // 4


class Official:
    """The facilitator behind HTTP. ``is_mute`` makes it do its work and lose the answer."""

    def __init__(self, chain: Chain) -> None:
        key = "0x" + bytes(chain.accounts[1].key).hex()
        self.facilitator = x402FacilitatorSync()
        self.facilitator.register(
            [chain.network], ExactEvmFacilitatorScheme(FacilitatorWeb3Signer(key, chain.rpc_url))
        )
        self.is_mute = False
        self.asked: list[str] = []

    async def supported(self, request: web.Request) -> web.Response:
        return web.json_response(self.facilitator.get_supported().model_dump(by_alias=True))

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        body = await request.json()
        payload = PaymentPayload.model_validate(body["paymentPayload"])
        terms = PaymentRequirements.model_validate(body["paymentRequirements"])
        work = self.facilitator.verify if request.path == "/verify" else self.facilitator.settle
        said = await asyncio.to_thread(work, payload, terms)
        if self.is_mute and request.path == "/settle":
            return web.Response(status=504, text="<html>Gateway Timeout</html>")
        return web.json_response(said.model_dump(by_alias=True, exclude_none=True))


@pytest.fixture
async def official(chain: Chain) -> AsyncIterator[tuple[Official, str]]:
    official = Official(chain)
    app = web.Application()
    app.router.add_get("/supported", official.supported)
    app.router.add_post("/verify", official.answer)
    app.router.add_post("/settle", official.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield official, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture(params=["believing", "proving"])
def network(request: pytest.FixtureRequest, chain: Chain, official: tuple[Official, str]) -> dict[str, Any]:
    node = chain.rpc_url if request.param == "proving" else None
    return {
        "rpc_url": node, "facilitator_key": None, "facilitator_url": official[1], "settle_timeout_seconds": 5,
    }  # fmt: skip


async def test_the_official_facilitator_settles_a_call(
    farebox: Farebox, official: tuple[Official, str]
) -> None:
    url = await farebox.publish() + "/weather"
    paid = await farebox.pay("GET", url)
    assert (paid.status, paid.json["path"]) == (200, "/weather")
    assert official[0].asked == ["/verify", "/settle"]
    # What the payer is told is what the chain has.
    assert paid.payment["transaction"] in farebox.chain.node.receipts
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    assert await farebox.earned() == (QUARTER * 9 // 10, QUARTER // 10)
    assert await farebox.is_sound()


async def test_a_payer_without_money_is_told_so_before_the_upstream_is_asked(farebox: Farebox) -> None:
    url = await farebox.publish() + "/weather"
    await farebox.move(farebox.chain.accounts[2], farebox.platform_wallet, 10 * DOLLAR)
    refused = await farebox.pay("GET", url)
    assert refused.status == 402
    # Its own word for it: it has no more to say where there is no Multicall contract.
    assert refused.json["error"] == "invalid_exact_evm_transaction_simulation_failed"
    assert farebox.upstream.seen == []


async def test_an_answer_that_is_lost_is_never_a_second_payment(
    farebox: Farebox, official: tuple[Official, str]
) -> None:
    """The facilitator settles and its answer does not arrive; only a chain can tell what became of it."""
    url = await farebox.publish() + "/weather"
    challenge = await farebox.agent.ask("GET", url)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    official[0].is_mute = True
    is_proving = farebox.settings.networks[0].rpc_url is not None
    reply = await farebox.agent.ask("GET", url, headers=payment)
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    if is_proving:
        assert reply.status == 200
        assert await farebox.earned() == (QUARTER * 9 // 10, QUARTER // 10)
        return
    assert (reply.status, reply.json["code"]) == (503, "settlement_pending")
    official[0].is_mute = False
    async with based(farebox.settings, farebox.origin) as base:
        await base.settlements.reconcile(timedelta(0))
    again = await farebox.agent.ask("GET", url, headers=payment)
    assert again.status in (409, 503)
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    assert await farebox.is_sound()
