"""The ledger against a model that a reader can check by eye: integers in dictionaries."""

import asyncio
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from control.identity import keys
from gateway.kit import ids
from gateway.kit.sql import Pool, create_pool
from gateway.ledger import accounts, caps, grants, holds
from gateway.ledger.caps import Caps
from gateway.ledger.holds import Holds
from tests.gateway.conftest import NETWORK, USDC, Ledger, Seller

# All examples share the clearing account, which holds their sum within 78 digits.
# Small ones, so that a call often draws on several grants.
AMOUNTS = st.integers(1, 20) | st.integers(1, 10**6) | st.integers(10**70, 10**75)
GIFTS = st.integers(1, 8) | AMOUNTS
LIMITS = st.none() | AMOUNTS

GRANTS = "SELECT id, held, spent, expired FROM grants WHERE organization_id = $1"


@dataclass
class Given:
    """A grant, and what became of it."""

    id: UUID
    who: int
    amount: int
    hours: int
    held: int = 0
    spent: int = 0
    expired: int = 0
    is_over: bool = False

    @property
    def left(self) -> int:
        return self.amount - self.held - self.spent - self.expired

    @property
    def order(self) -> tuple[bool, int, UUID]:
        """What expires first comes first."""
        return not self.is_over, self.hours, self.id


class LedgerMachine(RuleBasedStateMachine):
    """Any order of deposits, grants, holds, posts, voids, expiries, sweeps and changes of caps, on a real
    database.

    The first owner has an API key that was given caps; both name some of their calls, and are given
    promotional money.
    """

    dsn = ""
    opened = Bundle("opened")
    given = Bundle("given")

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
        self.grants: dict[UUID, Given] = {}
        self.drawn: dict[UUID, dict[UUID, int]] = {}
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
        self.budget_before = (await self.ledger.balance(accounts.PLATFORM, kind="promotion_budget"))[0]
        self.fees_before = (await self.ledger.balance(accounts.PLATFORM, kind="fees"))[0]
        self.seller = Seller(organization_id, await self.ledger.publisher(organization_id), earnings_id)

    @initialize(target=given, amount=AMOUNTS)
    def start_with_money(self, amount: int) -> MultipleResults[UUID]:
        self.deposit(0, amount)
        return multiple(*(self.give(0, 5, hours) for hours in (3, 1, 2)))

    @rule(who=st.integers(0, 1), amount=AMOUNTS)
    def deposit(self, who: int, amount: int) -> None:
        self.loop.run(self.ledger.deposit(self.owners[who], amount))
        self.posted[who] += amount

    @rule(target=given, who=st.integers(0, 1), amount=GIFTS, hours=st.integers(1, 3))
    def grant(self, who: int, amount: int, hours: int) -> UUID:
        return self.give(who, amount, hours)

    def give(self, who: int, amount: int, hours: int) -> UUID:
        self.loop.run(self.ledger.fill_budget(amount))
        one = self.loop.run(self.ledger.grant(self.owners[who], amount, timedelta(days=1, hours=hours)))
        self.grants[one] = Given(one, who, amount, hours)
        return one

    @rule(grant_id=given)
    def pass_its_date(self, grant_id: UUID) -> None:
        """Nobody opens a hold on it any more, whether or not the job has seen it."""
        if not self.grants[grant_id].is_over:
            self.grants[grant_id].is_over = True
            earlier = "UPDATE grants SET expires_at = expires_at - interval '1 year' WHERE id = $1"
            self.loop.run(self.pool.execute(earlier, grant_id))

    @rule()
    def expire(self) -> None:
        due = [one for one in self.grants.values() if one.is_over and one.left]
        assert self.loop.run(grants.expire(self.pool)) == len(due)
        for one in due:
            one.expired += one.left

    def live(self, who: int) -> list[Given]:
        mine = [one for one in self.grants.values() if one.who == who and not one.is_over]
        return sorted(mine, key=lambda one: one.order)

    def draw(self, who: int, amount: int) -> dict[UUID, int]:
        """What expires first, as far as it goes."""
        parts: dict[UUID, int] = {}
        for one in self.live(who):
            if part := min(one.left, amount - sum(parts.values())):
                parts[one.id] = part
        return parts

    def held_of(self, who: int) -> int:
        """Of the funded account."""
        mine = {call_id: amount for call_id, (holder, amount) in self.open.items() if holder == who}
        return sum(amount - sum(self.drawn[call_id].values()) for call_id, amount in mine.items())

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
        parts = self.draw(who, amount)
        own = amount - sum(parts.values())
        is_new = name is None or (who, name) not in self.names
        is_within = not is_capped or self.is_within_caps(amount)
        assert is_open == (is_new and is_within and self.posted[who] - self.held_of(who) >= own)
        if is_open:
            self.open[call_id] = (who, amount)
            self.drawn[call_id] = parts
            for grant_id, part in parts.items():
                self.grants[grant_id].held += part
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
            self.posted[who] -= spent - self.spend(call_id, spent)
            self.earned += spent - fee
            self.fees += fee

    def spend(self, call_id: UUID, spent: int) -> int:
        """Give back what a call drew, but for what it spent; returns that."""
        given = 0
        for one in sorted((self.grants[one] for one in self.drawn[call_id]), key=lambda one: one.order):
            part = self.drawn[call_id][one.id]
            taken = min(part, spent - given)
            one.held -= part
            one.spent += taken
            given += taken
        return given

    @rule(call_id=consumes(opened))
    def void(self, call_id: UUID) -> None:
        was_open = self.open.pop(call_id, None) is not None
        assert self.loop.run(self.holds.void(call_id)) == was_open
        if was_open:
            self.spend(call_id, 0)
            self.counted.pop(call_id, None)
            self.names = {name: one for name, one in self.names.items() if one != call_id}

    @rule()
    def sweep(self) -> None:
        """Nothing has expired, so the sweeper has nothing to do."""
        assert self.loop.run(holds.void_expired(self.pool)) == 0

    @invariant()
    def agrees_with_the_model(self) -> None:
        for who, owner in enumerate(self.owners):
            assert self.loop.run(self.ledger.balance(owner)) == (self.posted[who], self.held_of(who))
            mine = [one for one in self.grants.values() if one.who == who]
            rows = self.loop.run(self.pool.fetch(GRANTS, owner))
            told = {row["id"]: (row["held"], row["spent"], row["expired"]) for row in rows}
            assert told == {one.id: (one.held, one.spent, one.expired) for one in mine}
            left = (sum(one.left + one.held for one in mine), sum(one.held for one in mine))
            assert self.loop.run(self.ledger.balance(owner, kind="promotional")) == left
        budget = self.loop.run(self.ledger.balance(accounts.PLATFORM, kind="promotion_budget"))
        assert budget[0] - self.budget_before == sum(one.expired for one in self.grants.values())
        earned = self.loop.run(self.ledger.balance(self.seller.organization_id, kind="earnings"))
        fees = self.loop.run(self.ledger.balance(accounts.PLATFORM, kind="fees"))
        assert (earned[0], fees[0] - self.fees_before) == (self.earned, self.fees)
        found = self.loop.run(caps.find(self.pool, [self.key_id]))[self.key_id]
        taken = self.spent + sum(self.counted.values())
        assert (found.spent_today, found.spent_total) == (taken, taken)
        assert self.loop.run(self.ledger.is_sound())

    def teardown(self) -> None:
        for call_id in self.open:
            self.loop.run(self.holds.void(call_id))
        # The other examples' job must find nothing of this one's.
        self.loop.run(grants.expire(self.pool))
        self.loop.run(self.holds.close())
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
