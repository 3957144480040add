"""Charges, refunds, penalties and payouts in any order, some of them broken off, against plain integers."""

import asyncio
from typing import Any
from unittest.mock import patch
from uuid import UUID

from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from config.money import Fees, Payouts
from control import app
from control.api.ports import Ports
from control.bootstrap import ensure_operator
from gateway.kit.sql import Pool, create_pool
from gateway.ledger import accounts
from gateway.ledger.accounts import PLATFORM
from gateway.x402.deposits import link
from tests.arrivals import arrive
from tests.control.conftest import NETWORKS, TEST_USDC, Client, join, ports_with
from tests.control.test_publishers import NEW
from tests.gateway.conftest import Ledger

CHARGES = "/billing/publishers/weather/charges"
RECEIVER = "0x" + "c5" * 20
DEPOSITS = st.integers(1, 10**7)
AMOUNTS = st.integers(1, 10**6)
BREAKS = st.integers(1, 8).map(lambda number: number == 8)


class ChargingMachine(RuleBasedStateMachine):
    dsn = ""
    operator: dict[str, str]
    number = 0

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.charges: dict[str, dict[str, int]] = {}
        self.payouts: dict[str, tuple[str, int]] = {}
        self.funded = self.earned = self.fees = self.leaving = 0
        self.loop.run(self.connect())

    async def connect(self) -> None:
        self.pool: Pool = await create_pool(self.dsn, size_max=4)
        plain = ports_with(NETWORKS)
        changed = plain.settings.model_copy(
            update={"fees": Fees(platform_basis_points=333), "payouts": Payouts(minimum="0", is_manual=True)}
        )
        ports = Ports(plain.guard, plain.keyring, plain.modes, changed)
        await accounts.publish_assets(self.pool, changed.networks)
        self.seller, self.agent = await join(self.pool), await join(self.pool)
        self.client: Client = TestClient(
            TestServer(app.create(self.pool, ports)), headers=self.seller.headers
        )
        await self.client.start_server()
        ChargingMachine.number += 1
        self.wallet = f"0x{self.number:040x}"
        await link(self.pool, self.wallet, self.agent.id.organization_id)
        self.slug = f"weather-{self.number}"
        made = await self.client.post("/organizations/default/publishers", json={**NEW, "slug": self.slug})
        self.publisher_id = (await made.json())["data"]["id"]
        at = f"/platform/publishers/{self.publisher_id}"
        await self.client.patch(at, json={"is_first_party": True}, headers=self.operator)
        self.fees_before = await self.balance(PLATFORM, "fees")

    async def balance(self, owner: UUID, kind: str) -> int:
        query = "SELECT posted FROM accounts WHERE owner_id = $1 AND kind = $2 AND asset_id = $3"
        return int(await self.pool.fetchval(query, owner, kind, TEST_USDC) or 0)

    def ask(self, path: str, body: dict[str, Any], *, breaks: bool) -> tuple[int, Any]:
        return self.loop.run(self.asked("POST", path, body, breaks=breaks))

    async def asked(
        self, method: str, path: str, body: dict[str, Any], *, breaks: bool, **more: Any
    ) -> tuple[int, Any]:
        """``breaks`` is a process that dies when the money has moved and nothing is committed."""
        if breaks:
            with patch("gateway.ledger.events.emit", side_effect=OSError("the process is gone")):
                response = await self.client.request(method, path, json=body, **more)
        else:
            response = await self.client.request(method, path, json=body, **more)
        # Refused, or broken off, before it was done.
        assert not breaks or response.status >= 400
        return response.status, await response.json() if response.status != 204 else None

    def at(self, charge_id: str = "") -> str:
        return f"{CHARGES.replace('weather', self.slug)}/{charge_id}".rstrip("/")

    @initialize(amount=DEPOSITS)
    def start_with_money(self, amount: int) -> None:
        self.deposit(amount + 10**6)
        self.charge(amount=10**6, breaks=False)

    @rule(amount=DEPOSITS)
    def deposit(self, amount: int) -> None:
        async def deposited() -> None:
            account = await accounts.ensure(self.pool, self.agent.id.organization_id, TEST_USDC, "funded")
            await arrive(self.pool, account, TEST_USDC, amount, "Deposit")

        self.loop.run(deposited())
        self.funded += amount

    @rule(amount=AMOUNTS, breaks=BREAKS)
    def charge(self, amount: int, breaks: bool) -> None:
        body = {"agent_wallet": self.wallet, "amount_atomic": amount, "description": "x"}
        status, made = self.ask(self.at(), body, breaks=breaks)
        if breaks:
            return
        assert status == (200 if amount <= self.funded else 402)
        if status == 200:
            fee = amount * 333 // 10_000
            self.charges[made["id"]] = {"amount": amount, "refunded": 0, "slashed": 0, "fee": fee}
            self.funded -= amount
            self.earned += amount - fee
            self.fees += fee

    @precondition(lambda self: self.charges)
    @rule(data=st.data(), breaks=BREAKS)
    def refund(self, data: st.DataObject, breaks: bool) -> None:
        charge_id = data.draw(st.sampled_from(sorted(self.charges)))
        one = self.charges[charge_id]
        left = one["amount"] - one["refunded"]
        amount = data.draw(st.none() | st.integers(1, one["amount"]) | st.just(left or 1))
        body = {"reason": "late", "amount_atomic": amount}
        status, shown = self.ask(f"{self.at(charge_id)}/refund", body, breaks=breaks)
        if breaks:
            return
        wanted = left if amount is None else amount
        if not wanted or wanted > left:
            assert (status, shown["code"]) == (409, "refund-exceeds-charge")
            return
        if status != 200:
            # The publisher's part of it is not there any more, within a unit of rounding.
            assert shown["code"] == "earnings-too-low"
            assert self.earned < wanted - wanted * one["fee"] // left + 1
            return
        fees = self.loop.run(self.balance(PLATFORM, "fees")) - self.fees_before
        back = self.fees - fees
        assert abs(back * left - wanted * one["fee"]) < left
        assert wanted < left or back == one["fee"]
        one["refunded"] += wanted
        one["fee"] -= back
        self.funded += wanted
        self.fees -= back
        self.earned -= wanted - back

    @precondition(lambda self: self.charges)
    @rule(data=st.data(), breaks=BREAKS)
    def slash(self, data: st.DataObject, breaks: bool) -> None:
        charge_id = data.draw(st.sampled_from(sorted(self.charges)))
        one = self.charges[charge_id]
        stands = one["amount"] - one["refunded"] - one["slashed"]
        edges = st.sampled_from([max(stands, 1), max(stands + 1, 1)])
        amount = data.draw(edges | st.integers(1, one["amount"]))
        body = {"reason": "abuse", "slash_amount_atomic": amount}
        status, _ = self.ask(f"{self.at(charge_id)}/slash", body, breaks=breaks)
        if breaks:
            return
        is_within = one["slashed"] + amount <= one["amount"] - one["refunded"]
        assert status == (409 if not is_within else 402 if amount > self.funded else 204)
        if status == 204:
            one["slashed"] += amount
            self.funded -= amount
            self.earned += amount

    @rule(amount=AMOUNTS, breaks=BREAKS)
    def pay_out(self, amount: int, breaks: bool) -> None:
        body = {"destination_wallet": RECEIVER, "amount_atomic": amount, "description": "x"}
        status, made = self.ask(f"/billing/publishers/{self.slug}/payouts", body, breaks=breaks)
        if breaks:
            return
        assert status == (200 if amount <= self.earned else 409)
        if status == 200:
            self.payouts[made["id"]] = ("requested", amount)
            self.earned -= amount
            self.leaving += amount

    @precondition(lambda self: self.payouts)
    @rule(data=st.data(), breaks=BREAKS, decision=st.sampled_from(["sent", "failed", "returned"]))
    def decide(self, data: st.DataObject, breaks: bool, decision: str) -> None:
        payout_id = data.draw(st.sampled_from(sorted(self.payouts)))
        state, amount = self.payouts[payout_id]
        body = {"status": decision, "reference": "r", "reason": "r"}
        at = f"/platform/payouts/{payout_id}"
        asked = self.asked("PATCH", at, body, breaks=breaks, headers=self.operator)
        status, _ = self.loop.run(asked)
        if breaks:
            return
        may = (state, decision) in {("requested", "sent"), ("requested", "failed"), ("sent", "returned")}
        assert status == (200 if may else 409)
        if may:
            self.payouts[payout_id] = (decision, amount)
            self.leaving -= amount if state == "requested" else 0
            self.earned += amount if decision != "sent" else 0

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        async def read() -> tuple[list[int], bool]:
            seller, agent = self.seller.id.organization_id, self.agent.id.organization_id
            owned = [(agent, "funded"), (seller, "earnings"), (seller, "payouts")]
            found = [await self.balance(owner, kind) for owner, kind in owned]
            fees = await self.balance(PLATFORM, "fees") - self.fees_before
            return [*found, fees], await Ledger(self.pool).is_sound()

        if self.funded:
            found, is_sound = self.loop.run(read())
            assert found == [self.funded, self.earned, self.leaving, self.fees]
            assert is_sound

    def teardown(self) -> None:
        async def close() -> None:
            await self.client.close()
            await self.pool.close()

        self.loop.run(close())
        self.loop.close()


async def test_any_order_agrees_with_the_model(pool: Pool, server: str, database: str) -> None:
    key = await ensure_operator(pool)
    ChargingMachine.dsn = server.replace("/postgres?", f"/{database}?")
    ChargingMachine.operator = {"Authorization": f"Bearer {key}"}
    chosen = settings(
        max_examples=10,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    await asyncio.to_thread(run_state_machine_as_test, ChargingMachine, settings=chosen)
