"""Plans, invoices and what pays them in any order, some of it broken off, against plain integers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from config.plans import Plan
from control import app
from control.api.ports import Ports
from control.bootstrap import ensure_operator
from control.invoicing import drafting, monthly
from control.quotas.catalogue import id_of
from control.reconciling import books
from gateway.kit.sql import Pool, create_pool
from gateway.ledger import accounts
from gateway.ledger.accounts import PLATFORM
from tests.arrivals import arrive
from tests.control.conftest import NETWORKS, TEST_USDC, Client, join, ports_with

PLANS = (
    Plan(id="free", name="Free"),
    Plan(id="small", name="Small", price_per_month="9.99"),
    Plan(id="large", name="Large", price_per_month="30.00"),
)
CENT = 10_000
TEST_NETWORKS = NETWORKS[:1]
BREAKS = st.integers(1, 4).map(lambda number: number == 4)
GONE = OSError("the process is gone")


class BillingMachine(RuleBasedStateMachine):
    dsn = ""
    operator: dict[str, str]
    months = 0
    """Each is billed once, over all examples: they share a database, and what they owe is their own."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.funded = self.revenue = self.price = 0
        self.invoices: dict[str, tuple[str, int]] = {}
        self.loop.run(self.connect())

    async def connect(self) -> None:
        self.pool: Pool = await create_pool(self.dsn, size_max=4)
        plain = ports_with(TEST_NETWORKS)
        changed = plain.settings.model_copy(update={"plans": PLANS})
        ports = Ports(plain.guard, plain.keyring, plain.modes, changed)
        await accounts.publish_assets(self.pool, changed.networks)
        self.terms = drafting.terms(PLANS, changed.networks)
        self.member = await join(self.pool)
        self.client: Client = TestClient(
            TestServer(app.create(self.pool, ports)), headers=self.member.headers
        )
        await self.client.start_server()
        self.revenue_before = await self.balance(PLATFORM, "revenue")
        # This month is shared by all examples, and no one's whole.
        await self.pool.execute(
            "INSERT INTO invoice_runs (month, finished_at)"
            " VALUES (date_trunc('month', now() AT TIME ZONE 'UTC')::date, now()) ON CONFLICT DO NOTHING"
        )

    async def balance(self, owner: UUID, kind: str) -> int:
        query = "SELECT posted FROM accounts WHERE owner_id = $1 AND kind = $2 AND asset_id = $3"
        return int(await self.pool.fetchval(query, owner, kind, TEST_USDC) or 0)

    async def ask(self, path: str, body: Any = None, *, breaks: bool, **more: Any) -> int:
        """``breaks`` is a process that dies when all is done and nothing is committed."""
        if breaks:
            with patch("gateway.ledger.events.emit", side_effect=GONE):
                response = await self.client.post(path, json=body, **more)
        else:
            response = await self.client.post(path, json=body, **more)
        assert not breaks or response.status >= 400
        return response.status

    @rule(cents=st.integers(1, 5000))
    def deposit(self, cents: int) -> None:
        async def deposited() -> None:
            account = await accounts.ensure(self.pool, self.member.id.organization_id, TEST_USDC, "funded")
            await arrive(self.pool, account, TEST_USDC, cents * CENT, "Deposit")

        self.loop.run(deposited())
        self.funded += cents

    @rule(plan=st.sampled_from(PLANS), breaks=BREAKS)
    def choose(self, plan: Plan, breaks: bool) -> None:
        body = {"plan_id": str(id_of(plan))}
        is_other = plan.price_cents != self.price
        status = self.loop.run(self.ask("/organizations/default/plan", body, breaks=breaks and is_other))
        if not (breaks and is_other):
            assert status == 200
            # Of the months to come, whether it holds at once or follows.
            self.price = plan.price_cents

    @rule(breaks=BREAKS)
    def a_month_ends(self, breaks: bool) -> None:
        BillingMachine.months += 1
        first = datetime.now(UTC).replace(day=1, hour=2)
        for _ in range(self.months + 1):
            first = (first + timedelta(days=32)).replace(day=1)
        self.loop.run(self.bill(first, breaks=breaks))
        rows = self.loop.run(
            self.pool.fetch(
                "SELECT id, status, total_cents FROM invoices WHERE organization_id = $1",
                self.member.id.organization_id,
            )
        )
        made = [row for row in rows if str(row["id"]) not in self.invoices]
        assert [(row["status"], row["total_cents"]) for row in made] == (
            [("issued", self.price)] if self.price else []
        )
        self.invoices |= {str(row["id"]): ("issued", row["total_cents"]) for row in made}

    async def bill(self, at: datetime, *, breaks: bool) -> None:
        if breaks:
            # Between the draft and its number: it fails for one, and keeps nobody else waiting.
            with patch("gateway.ledger.events.emit", side_effect=GONE):
                while await monthly.bill(self.pool, self.terms, at):
                    pass
            # What failed is tried again after an hour.
            await self.pool.execute("UPDATE invoice_runs SET finished_at = now() - interval '2 hours'")
        while await monthly.bill(self.pool, self.terms, at):
            pass

    @precondition(lambda self: self.invoices)
    @rule(data=st.data(), breaks=BREAKS)
    def pay(self, data: st.DataObject, breaks: bool) -> None:
        invoice_id = data.draw(st.sampled_from(sorted(self.invoices)))
        state, due = self.invoices[invoice_id]
        status = self.loop.run(self.ask(f"/billing/invoices/{invoice_id}/pay/wallet", breaks=breaks))
        if breaks:
            return
        assert status == (400 if state != "issued" else 402 if due > self.funded else 200)
        if status == 200:
            self.invoices[invoice_id] = ("paid", due)
            self.funded -= due
            self.revenue += due

    @precondition(lambda self: self.invoices)
    @rule(data=st.data(), breaks=BREAKS)
    def void(self, data: st.DataObject, breaks: bool) -> None:
        invoice_id = data.draw(st.sampled_from(sorted(self.invoices)))
        state, due = self.invoices[invoice_id]
        at = f"/platform/invoices/{invoice_id}/void"
        status = self.loop.run(self.ask(at, breaks=breaks, headers=self.operator))
        if not breaks:
            assert status < 300 if state == "issued" else status == 409
            self.invoices[invoice_id] = ("void" if state == "issued" else state, due)

    @invariant()
    def the_books_are_the_model(self) -> None:
        async def read() -> tuple[int, int, dict[str, tuple[str, int]], list[str]]:
            owner = self.member.id.organization_id
            rows = await self.pool.fetch("SELECT * FROM invoices WHERE organization_id = $1", owner)
            # Deposits come from nowhere here, so there is nothing on chain that they could be.
            compared = [one for one in books.CHECKS if one != "payments"]
            wrong = [one for one in compared if await self.pool.fetch(getattr(books.SQL, one), 9)]
            return (
                await self.balance(owner, "funded"),
                await self.balance(PLATFORM, "revenue") - self.revenue_before,
                {str(row["id"]): (row["status"], row["total_cents"]) for row in rows},
                wrong,
            )

        found = self.loop.run(read())
        assert found == (self.funded * CENT, self.revenue * CENT, self.invoices, [])

    def teardown(self) -> None:
        async def close() -> None:
            # Nobody bills it in the next example.
            await self.pool.execute("DELETE FROM organization_plans")
            await self.client.close()
            await self.pool.close()

        self.loop.run(close())
        self.loop.close()


async def test_any_order_agrees_with_the_model(pool: Pool, server: str, database: str) -> None:
    key = await ensure_operator(pool, "test")
    BillingMachine.dsn = server.replace("/postgres?", f"/{database}?")
    BillingMachine.operator = {"Authorization": f"Bearer {key}"}
    chosen = settings(
        max_examples=8,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    await asyncio.to_thread(run_state_machine_as_test, BillingMachine, settings=chosen)
