"""The ledger against a model that a reader can check by eye: integers in dictionaries."""

import asyncio
import secrets
from datetime import timedelta
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gateway.kit import ids
from gateway.kit.sql import Pool, create_pool
from gateway.ledger import accounts, holds
from gateway.ledger.holds import Holds
from tests.gateway.conftest import NETWORK, USDC, Ledger, Seller

AMOUNTS = st.integers(1, 10**6) | st.integers(10**70, 10**77)


class LedgerMachine(RuleBasedStateMachine):
    """Any order of deposits, holds, posts, voids and sweeps, on a real database."""

    dsn = ""
    opened = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.posted = [0, 0]
        self.open: dict[UUID, tuple[int, int]] = {}
        self.earned = self.fees = 0
        self.loop.run(self.connect())

    async def connect(self) -> None:
        self.pool: Pool = await create_pool(self.dsn, size_max=4)
        self.ledger = Ledger(self.pool)
        self.holds = Holds(self.pool, timedelta(hours=1))
        self.owners = [await self.ledger.organization() for _ in self.posted]
        organization_id = await self.ledger.organization()
        earnings_id = await accounts.ensure(self.pool, organization_id, USDC.id, "earnings")
        self.fees_before = (await self.ledger.balance(accounts.PLATFORM, kind="fees"))[0]
        self.seller = Seller(organization_id, await self.ledger.publisher(organization_id), earnings_id)

    @initialize(amount=AMOUNTS)
    def start_with_money(self, amount: int) -> None:
        self.deposit(0, amount)

    @rule(who=st.integers(0, 1), amount=AMOUNTS)
    def deposit(self, who: int, amount: int) -> None:
        self.loop.run(self.ledger.deposit(self.owners[who], amount))
        self.posted[who] += amount

    @rule(target=opened, who=st.integers(0, 1), amount=AMOUNTS)
    def hold(self, who: int, amount: int) -> UUID:
        call_id = ids.new()
        is_open = self.loop.run(self.holds.open(self.seller.opening(self.owners[who], amount, call_id)))
        held = sum(held for owner, held in self.open.values() if owner == who)
        assert is_open == (self.posted[who] - held >= amount)
        if is_open:
            self.open[call_id] = (who, amount)
        return call_id

    @rule(call_id=opened, part=st.floats(0, 1), share=st.floats(0, 1))
    def post(self, call_id: UUID, part: float, share: float) -> None:
        who, held = self.open.get(call_id, (0, 100))
        spent = min(held, int(held * part))
        fee = min(spent, int(spent * share))
        was_open = call_id in self.open
        assert self.loop.run(self.holds.post(self.seller.posting(call_id, spent, fee))) == was_open
        if was_open:
            del self.open[call_id]
            self.posted[who] -= spent
            self.earned += spent - fee
            self.fees += fee

    @rule(call_id=consumes(opened))
    def void(self, call_id: UUID) -> None:
        assert self.loop.run(self.holds.void(call_id)) == (self.open.pop(call_id, None) is not None)

    @rule()
    def sweep(self) -> None:
        """Nothing has expired, so the sweeper has nothing to do."""
        assert self.loop.run(holds.void_expired(self.pool)) == 0

    @invariant()
    def agrees_with_the_model(self) -> None:
        for who, owner in enumerate(self.owners):
            held = sum(amount for holder, amount in self.open.values() if holder == who)
            assert self.loop.run(self.ledger.balance(owner)) == (self.posted[who], held)
        earned = self.loop.run(self.ledger.balance(self.seller.organization_id, kind="earnings"))
        fees = self.loop.run(self.ledger.balance(accounts.PLATFORM, kind="fees"))
        assert (earned[0], fees[0] - self.fees_before) == (self.earned, self.fees)
        assert self.loop.run(self.ledger.is_sound())

    def teardown(self) -> None:
        self.loop.run(self.holds.close())
        for call_id in self.open:
            self.loop.run(self.pool.execute(holds.SQL.void, [call_id]))
        self.loop.run(self.pool.close())
        self.loop.close()


def test_the_ledger_agrees_with_its_model(server: str, template: str) -> None:
    name = f"test_{secrets.token_hex(8)}"
    asyncio.run(create(server, name, template))

    class Machine(LedgerMachine):
        dsn = server.replace("/postgres?", f"/{name}?")

    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=12,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
    finally:
        asyncio.run(drop(server, name))


async def create(server: str, name: str, template: str) -> None:
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    await admin.close()
    async with create_pool(server, database=name) as pool:
        await accounts.publish_assets(pool, [NETWORK])


async def drop(server: str, name: str) -> None:
    admin = await asyncpg.connect(server)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()
