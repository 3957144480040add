"""The gateway settles payments that are not to it, for organizations with a key and within a gas budget."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from config.settings import Facilitation
from control.agent.client import Reply
from control.agent.wallet import sign_payment
from control.demo import token
from tests.paths.conftest import DOLLAR, Account, Farebox, serving

ELSEWHERE = "0x" + "e1" * 20
PRICE = DOLLAR // 10
GAS = 200_000


@dataclass
class Service:
    farebox: Farebox
    account: Account
    is_keyless: bool = False

    def payment(self, **changes: Any) -> dict[str, Any]:
        terms = {
            "scheme": "exact",
            "network": self.farebox.chain.network,
            "amount": str(PRICE),
            "asset": self.farebox.token,
            "payTo": ELSEWHERE,
            "maxTimeoutSeconds": 60,
            "extra": {"name": token.NAME, "version": token.VERSION},
            **changes,
        }
        signed = sign_payment(
            self.farebox.agent.private_key, terms, int(time.time()), chain_id=self.farebox.chain.chain_id
        )
        return {
            "x402Version": 2,
            "paymentPayload": {"x402Version": 2, "accepted": terms, "payload": signed},
            "paymentRequirements": terms,
        }

    async def ask(self, path: str, body: Any) -> Reply:
        headers = {} if self.is_keyless else self.account.headers
        url = f"{self.farebox.origin}/facilitator/{path}"
        return await self.farebox.agent.ask("POST", url, headers=headers, body=body)

    async def paid(self) -> int:
        return await self.farebox.chain.balance(self.farebox.token, ELSEWHERE)


@pytest.fixture
async def service(farebox: Farebox) -> AsyncIterator[Service]:
    budget = Facilitation(gas_per_organization_per_day=2 * GAS, gas_per_day=3 * GAS)
    settings = farebox.settings.model_copy(update={"facilitator": budget})
    async with serving(settings) as origin:
        there = replace(farebox, origin=origin)
        yield Service(there, await there.sign_up())


async def test_a_payment_is_verified_and_settled_once(service: Service) -> None:
    body = service.payment()
    verified = await service.ask("verify", body)
    assert (verified.status, verified.json["isValid"]) == (200, True)
    assert await service.paid() == 0
    replies = await asyncio.gather(*(service.ask("settle", body) for _ in range(10)))
    assert {reply.status for reply in replies} == {200}
    # The others are told that it is on its way, or that it arrived.
    assert {reply.json.get("errorReason") for reply in replies} <= {None, "settlement_pending"}
    again = await service.ask("settle", body)
    assert again.json["success"] is True
    assert (again.json["network"], again.json["amount"]) == (service.farebox.chain.network, str(PRICE))
    assert again.json["payer"].lower() == service.farebox.payer
    assert again.json["transaction"] in service.farebox.chain.node.receipts
    assert await service.paid() == PRICE
    # None of it is this gateway's money.
    assert await service.farebox.pool.fetchval("SELECT count(*) FROM transfers") == 0
    assert await service.farebox.is_sound()
    spent = (await service.ask("verify", body)).json
    assert (spent["isValid"], spent["invalidReason"]) == (False, "invalid_exact_evm_nonce_already_used")


async def test_gas_is_within_a_budget_for_each_and_for_all(service: Service) -> None:
    async def settle(one: Service) -> str:
        reply = await one.ask("settle", one.payment())
        return str(reply.json["code"]) if reply.status == 429 else str(reply.json["success"])

    results = await asyncio.gather(*(settle(service) for _ in range(5)))
    assert sorted(results) == ["True", "True", *["gas-budget-spent"] * 3]
    other = replace(service, account=await service.farebox.sign_up())
    # A refusal by the budget of all leaves the organization's own as it was.
    assert sorted([await settle(other) for _ in range(2)]) == ["True", "gas-budget-spent"]
    used = await service.farebox.pool.fetch("SELECT gas FROM gas_budgets ORDER BY gas")
    assert [row["gas"] for row in used] == [GAS, 2 * GAS, 3 * GAS]
    assert await service.paid() == 3 * PRICE


async def test_by_default_it_settles_for_nobody(farebox: Farebox) -> None:
    service = Service(farebox, await farebox.sign_up())
    body = service.payment()
    assert (await service.ask("verify", body)).json["isValid"] is True
    assert (await service.ask("settle", body)).status == 429
    assert await service.paid() == 0


async def test_strangers_are_turned_away(service: Service) -> None:
    stranger = replace(service, is_keyless=True)
    assert (await stranger.ask("verify", service.payment())).status == 401
    assert (await stranger.ask("settle", service.payment())).status == 401
    url = f"{service.farebox.origin}/facilitator/supported"
    supported = await service.farebox.agent.ask("GET", url)
    kinds = {(one["x402Version"], one["network"]) for one in supported.json["kinds"]}
    assert (2, service.farebox.chain.network) in kinds


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"asset": "0x" + "1" * 40}, "invalid_network"),
        ({"network": "eip155:1"}, "invalid_network"),
        ({"scheme": "upto"}, "unsupported_scheme"),
        ({"amount": str(100 * DOLLAR)}, "insufficient_funds"),
        ({"amount": "1e3"}, "invalid_payload"),
        ({"payTo": "merchant"}, "invalid_payload"),
    ],
)
async def test_a_payment_that_cannot_settle_is_a_verdict(
    service: Service, change: dict[str, str], code: str
) -> None:
    body = service.payment()
    if "amount" in change and change["amount"].isdigit():
        body = service.payment(**change)
    else:
        changed = {**body["paymentRequirements"], **change}
        body = {**body, "paymentRequirements": changed}
    verified, settled = await service.ask("verify", body), await service.ask("settle", body)
    assert (verified.status, verified.json["isValid"], verified.json["invalidReason"]) == (200, False, code)
    assert (settled.status, settled.json["success"], settled.json["errorReason"]) == (200, False, code)
    assert settled.json["transaction"] == ""


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"x402Version": 3, "paymentPayload": {}, "paymentRequirements": {}},
        {"x402Version": 2, "paymentPayload": {}, "paymentRequirements": {}},
        {"x402Version": 1, "paymentPayload": {"x402Version": 1}, "paymentRequirements": []},
        {"x402Version": 2, "paymentPayload": "x", "paymentRequirements": None},
    ],
)
async def test_what_is_no_request_is_refused(service: Service, body: Any) -> None:
    for path in ("verify", "settle"):
        assert (await service.ask(path, body)).status == 400


async def test_a_payment_to_this_gateway_is_not_taken_aside(service: Service) -> None:
    farebox = service.farebox
    direct = await service.ask("settle", service.payment(payTo=farebox.platform_wallet))
    assert direct.json["errorReason"] == "invalid_payment_requirements"
    # Nor one that a call has claimed already.
    url = await farebox.publish() + "/x"
    challenge = await farebox.agent.ask("GET", url)
    header = farebox.agent.sign(challenge)
    assert (await farebox.agent.ask("GET", url, headers={"PAYMENT-SIGNATURE": header})).status == 200
    offer = challenge.offers[0]
    row = await farebox.pool.fetchrow("SELECT nonce FROM payments WHERE purpose = 'call'")
    assert row is not None
    body = service.payment(payTo=offer["payTo"], amount=offer["amount"])
    body["paymentPayload"]["payload"]["authorization"]["nonce"] = "0x" + row["nonce"].hex()
    taken = await service.ask("settle", body)
    assert (taken.json["success"], taken.json["errorReason"]) == (False, "duplicate_settlement")
