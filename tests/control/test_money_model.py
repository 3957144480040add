"""All money against a model: any order of all that moves it, some of it broken off at any statement.

Deposits, gifts and their expiry, calls under caps and names, charges, refunds, penalties, payouts, plans and
invoices, on one database. After each step the books are sound and balances are the model's.
"""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

from control.bootstrap import ensure_operator
from gateway.kit.sql import Pool
from tests.control.balanced import differences
from tests.control.model.billing import Billing
from tests.control.model.calls import Calls
from tests.control.model.charges import Charges
from tests.control.model.world import AMOUNTS, PLANS

# A failure is told as it was found: making it smaller takes hundreds of runs, and looks like a hanging test.
PHASES = (Phase.explicit, Phase.generate)


class MoneyMachine(Calls, Charges, Billing):
    @initialize(amount=AMOUNTS)
    def start_with_some_of_all(self, amount: int) -> None:
        """So that each step has something to happen to, whatever Hypothesis leaves out of an example."""
        for who in range(2):
            self.deposit(who, amount + 500_000)
            self.charge(who, 200_000 + amount % 7, None)
            for hours, given in ((3, 5), (1, 5), (2, amount)):
                self.give(who, given, hours, None)
            self.charge(who, amount + 7, None)
            for hours in (3, 1, 2):
                self.give(who, 5, hours, None)
            self.hold(who, 12, False, None, None)
        self.pay_out(50_000, None)
        self.choose(PLANS[1], None)
        self.end_a_month(None)

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.run(self.found()) == self.told()

    def teardown(self) -> None:
        try:
            assert self.run(differences(self.pool)) == []
        finally:
            super().teardown()


async def run(pool: Pool, dsn: str, examples: int, steps: int, *, is_always_the_same: bool = False) -> None:
    operator: Mapping[str, str] = {"Authorization": f"Bearer {await ensure_operator(pool, 'test')}"}
    machine = type("Machine", (MoneyMachine,), {"dsn": dsn, "operator": operator})
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=PHASES,
        derandomize=is_always_the_same,
        report_multiple_bugs=False,
    )
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=chosen)


@pytest.fixture
def dsn(server: str, database: str) -> str:
    return server.replace("/postgres?", f"/{database}?")


async def test_any_order_agrees_with_the_model(pool: Pool, dsn: str) -> None:
    await run(pool, dsn, examples=12, steps=50, is_always_the_same=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_any_order_agrees_with_the_model_for_long(pool: Pool, dsn: str) -> None:
    await run(pool, dsn, examples=100, steps=100)
