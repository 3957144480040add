"""The ledger against a model that a reader can check by eye: integers in dictionaries."""

import asyncio
import secrets
from dataclasses import replace
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

from control.identity import keys
from gateway.kit import ids
from gateway.kit.sql import Pool, create_pool
from gateway.ledger import accounts, caps, holds
from gateway.ledger.caps import Caps
from gateway.ledger.holds import Holds
from tests.gateway.conftest import NETWORK, USDC, Ledger, Seller

# All examples share the clearing account, which holds their sum within 78 digits.
AMOUNTS = st.integers(1, 10**6) | st.integers(10**70, 10**75)
LIMITS = st.none() | AMOUNTS


class LedgerMachine(RuleBasedStateMachine):
    """Any order of deposits, holds, posts, voids, sweeps and changes of caps, on a real database.

    The first owner has an API key that was given caps; both name some of their calls.
    """

    dsn = ""
    opened = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.posted = [0, 0]
        self.open: dict[UUID, tuple[int, int]] = {}
        self.costs: dict[UUID, int] = {}
        self.earned = self.fees = 0
        self.caps = Caps()
        self.counted: dict[UUID, int] = {}
        self.spent = 0
        self.names: dict[tuple[int, str], UUID] = {}
        self.loop.run(self.connect())

    async def connect(self) -> None:
        self.pool: Pool = await create_pool(self.dsn, size_max=4)
        self.ledger = Ledger(self.pool)
        self.holds = Holds(self.pool, timedelta(hours=1))
        self.owners = [await self.ledger.organization() for _ in self.posted]
        new = keys.NewKey(self.owners[0], accounts.PLATFORM, "k", "user", "test")
        self.key_id: UUID = (await keys.issue(self.pool, new))[0]["id"]
        await caps.put(self.pool, self.key_id, self.caps)
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

    @rule(per_call=LIMITS, per_day=LIMITS, total=LIMITS)
    def cap(self, per_call: int | None, per_day: int | None, total: int | None) -> None:
        self.caps = Caps(per_call, per_day, total)
        self.loop.run(caps.put(self.pool, self.key_id, self.caps))

    @rule(
        target=opened,
        who=st.integers(0, 1),
        amount=AMOUNTS,
        is_capped=st.booleans(),
        name=st.none() | st.sampled_from(["one", "two"]),
    )
    def hold(self, who: int, amount: int, is_capped: bool, name: str | None) -> UUID:
        call_id = ids.new()
        is_capped = is_capped and who == 0
        opening = replace(
            self.seller.opening(self.owners[who], amount, call_id),
            key_id=self.key_id if is_capped else None,
            name=name,
            digest=bytes(32),
        )
        is_open = self.loop.run(self.holds.open(opening)).is_open
        held = sum(held for owner, held in self.open.values() if owner == who)
        is_new = name is None or (who, name) not in self.names
        is_within = not is_capped or self.is_within_caps(amount)
        assert is_open == (is_new and is_within and self.posted[who] - held >= amount)
        if is_open:
            self.open[call_id] = (who, amount)
            if is_capped:
                self.counted[call_id] = amount
            if name is not None:
                self.names[who, name] = call_id
        return call_id

    def is_within_caps(self, amount: int) -> bool:
        taken = self.spent + sum(self.counted.values()) + amount
        one = self.caps
        limits = [(one.per_call, amount), (one.per_day, taken), (one.total, taken)]
        return all(most is None or asked <= most for most, asked in limits)

    @rule(call_id=opened, part=st.floats(0, 1), share=st.floats(0, 1))
    def post(self, call_id: UUID, part: float, share: float) -> None:
        who, held = self.open.get(call_id, (0, 100))
        spent = min(held, int(held * part))
        fee = min(spent, int(spent * share))
        was_open = call_id in self.open
        posting = replace(self.seller.posting(call_id, spent, fee), is_partial=spent < held)
        # Asked again, a post says that it is done.
        assert self.loop.run(self.holds.post(posting)) == (was_open or self.costs.get(call_id) == spent)
        if was_open:
            self.costs[call_id] = spent
            if self.counted.pop(call_id, None) is not None:
                self.spent += spent
            del self.open[call_id]
            self.posted[who] -= spent
            self.earned += spent - fee
            self.fees += fee

    @rule(call_id=consumes(opened))
    def void(self, call_id: UUID) -> None:
        was_open = self.open.pop(call_id, None) is not None
        assert self.loop.run(self.holds.void(call_id)) == was_open
        if was_open:
            self.counted.pop(call_id, None)
            self.names = {name: one for name, one in self.names.items() if one != call_id}

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
        found = self.loop.run(caps.find(self.pool, [self.key_id]))[self.key_id]
        taken = self.spent + sum(self.counted.values())
        assert (found.spent_today, found.spent_total) == (taken, taken)
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
