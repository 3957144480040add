"""Money that a process takes out of a balance ahead of the calls that will spend it.

A hold for each call is a commit that the call waits for before its upstream is asked. Who calls often and
has plenty left is spared it: a purse holds the price of some calls at once, a call is paid from it by a
subtraction in memory, and only its charge is a commit. The README says why no money is lost or spent twice
by that.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

import asyncpg
import structlog

from gateway.kit import ids
from gateway.kit.groups import Crowd, Group
from gateway.kit.sql import OUTAGES, Pool, Statements, listed
from gateway.kit.tasks import Crew
from gateway.kit.values import dataclass
from gateway.ledger import telling
from gateway.ledger.batches import PATIENCE_SECONDS, Posting, texts_of

SQL = Statements(__file__)

# No more than this share of what a balance has left.
SHARE = 16
# Calls in a tick: who makes fewer is served by holds.
CALLS_MIN = 8
TICK_SECONDS = 0.25
# For how long a purse is drawn on, so that what changes about an account matters to its calls soon.
KEPT_SECONDS = 1.0
# After a balance had too little for one: ticks until it is asked again.
REST_TICKS = 8

log = structlog.get_logger(__name__)


class Purse:
    """What its process has left of it. The row has as much or more: it knows of charges, not of draws."""

    __slots__ = ("ends", "id", "is_retired", "left", "running", "size")

    def __init__(self, purse_id: UUID, amount: int, ends: float) -> None:
        self.id, self.left, self.ends = purse_id, amount, ends
        self.size = amount
        # For calls that have drawn on it and are neither charged nor given back; those of which it is not
        # known stay here, and the purse then is the sweeper's.
        self.running = 0
        self.is_retired = False


class Spender:
    """One owner's calls in one asset, and the purses that they are paid from: this one, then the next."""

    __slots__ = ("amount", "amount_before", "calls", "calls_before", "is_asking", "next", "purse", "rest")

    def __init__(self) -> None:
        self.purse: Purse | None = None
        self.next: Purse | None = None
        # In this tick and in the one before.
        self.calls = self.amount = self.calls_before = self.amount_before = 0
        self.is_asking = False
        self.rest = 0


Whose: TypeAlias = tuple[UUID, UUID]
"""An owner and an asset."""


@dataclass(frozen=True, slots=True)
class Taking:
    purse_id: UUID
    whose: Whose
    size: int
    least: int
    """Less is not worth it."""


@dataclass(frozen=True, slots=True)
class Charge:
    posting: Posting
    purse_id: UUID
    payee_id: UUID


@dataclass(frozen=True, slots=True)
class Return:
    purse_id: UUID
    kept: int


class Purses:
    """The purses of one process. Close it before its pool."""

    def __init__(self, pool: Pool, lifetime: timedelta) -> None:
        """No call runs longer than ``lifetime``."""
        self.pool = pool
        self.kept_for = lifetime + timedelta(seconds=KEPT_SECONDS)
        self.takings = Group(self.take_batch)
        # Calls that have drawn, and did not end yet: they will be charged soon.
        self.crowd = Crowd()
        # What was served is paid for, if the database is back in time.
        self.charges = Group(
            self.charge_batch,
            patience_seconds=PATIENCE_SECONDS,
            crowd=self.crowd,
            whose=lambda one: one.purse_id,
        )
        self.returns = Group(self.return_batch)
        self.spenders: dict[Whose, Spender] = {}
        self.crew = Crew()
        self.is_ticking = False

    def draw(self, owner_id: UUID, asset_id: UUID, amount: int) -> Purse | None:
        """Pay a call with so much. None where it needs a hold: its owner calls rarely, or has little left."""
        spender = self.spenders.get((owner_id, asset_id)) or self.met((owner_id, asset_id))
        spender.calls += 1
        spender.amount += amount
        purse, now = spender.purse, time.monotonic()
        if purse is None or purse.left < amount or purse.ends < now:
            purse = self.turned(spender, amount, now)
        if spender.next is None and (purse is None or 2 * purse.left < purse.size):
            self.ask((owner_id, asset_id), spender)
        if purse is None:
            return None
        purse.left -= amount
        purse.running += amount
        self.crowd.count += 1
        return purse

    def met(self, whose: Whose) -> Spender:
        spender = self.spenders[whose] = Spender()
        if not self.is_ticking:
            self.is_ticking = True
            asyncio.get_running_loop().call_later(TICK_SECONDS, self.tick)
        return spender

    def turned(self, spender: Spender, amount: int, now: float) -> Purse | None:
        """The next purse, if it is there and has enough."""
        after = spender.next
        if after is None or after.left < amount or after.ends < now:
            return None
        self.retire(spender.purse)
        spender.purse, spender.next = spender.next, None
        return spender.purse

    def ask(self, whose: Whose, spender: Spender) -> None:
        """For twice what was spent in a tick."""
        calls = max(spender.calls, spender.calls_before)
        if spender.is_asking or spender.rest or calls < CALLS_MIN:
            return
        spender.is_asking = True
        size = 2 * max(spender.amount, spender.amount_before)
        taking = Taking(ids.new(), whose, size, CALLS_MIN * size // (2 * calls))
        self.crew.start(self.take(spender, taking))

    async def take(self, spender: Spender, taking: Taking) -> None:
        ends = time.monotonic() + KEPT_SECONDS
        try:
            amount = await self.takings.add(taking)
        except (*OUTAGES, asyncpg.PostgresError):
            amount = 0
            # Perhaps it was taken, and nobody heard of it.
            self.give_back(taking.purse_id, 0)
        spender.is_asking = False
        if not amount:
            spender.rest = REST_TICKS
        elif spender.purse is None:
            spender.purse = Purse(taking.purse_id, amount, ends)
        else:
            spender.next = Purse(taking.purse_id, amount, ends)

    async def charge(self, purse: Purse, payee_id: UUID, posting: Posting) -> bool:
        """True when the call is charged: now, or before. False when its purse had expired."""
        self.crowd.count -= 1
        charged = self.charges.add(Charge(posting, purse.id, payee_id))
        try:
            return await charged
        finally:
            # Whoever is cancelled is so once it is decided.
            if not charged.cancelled() and not isinstance(charged.exception(), OUTAGES):
                self.done(purse, posting.spent)

    def put_back(self, purse: Purse, amount: int) -> None:
        """The call cost nothing."""
        self.crowd.count -= 1
        purse.left += amount
        self.done(purse, amount)

    def done(self, purse: Purse, amount: int) -> None:
        purse.running -= amount
        if purse.is_retired and not purse.running:
            self.give_back(purse.id, 0)

    def retire(self, purse: Purse | None) -> None:
        """Draw on it no more, and give back what no call has drawn."""
        if purse is not None:
            purse.is_retired = True
            self.give_back(purse.id, purse.running)

    def tick(self) -> None:
        now = time.monotonic()
        for whose, spender in list(self.spenders.items()):
            is_idle = not spender.calls
            while spender.purse is not None and (is_idle or spender.purse.ends < now):
                self.retire(spender.purse)
                spender.purse, spender.next = spender.next, None
            if is_idle and not spender.is_asking:
                del self.spenders[whose]
            spender.calls_before, spender.amount_before = spender.calls, spender.amount
            spender.calls = spender.amount = 0
            spender.rest = max(0, spender.rest - 1)
        self.is_ticking = bool(self.spenders)
        if self.is_ticking:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self.tick)

    async def give_up(self, owner_id: UUID, asset_id: UUID) -> bool:
        """Give back what can be: its owner lacks it. False when there is nothing."""
        spender = self.spenders.get((owner_id, asset_id))
        if spender is None or spender.purse is None:
            return False
        purses = [one for one in (spender.purse, spender.next) if one is not None]
        spender.purse = spender.next = None
        spender.rest = REST_TICKS
        for one in purses:
            one.is_retired = True
        await asyncio.gather(*(self.returns.add(Return(one.id, one.running)) for one in purses))
        return True

    def give_back(self, purse_id: UUID, kept: int) -> None:
        self.crew.start(self.try_give_back(Return(purse_id, kept)))

    async def try_give_back(self, one: Return) -> None:
        try:
            await self.returns.add(one)
        except (*OUTAGES, asyncpg.PostgresError):
            # It expires.
            log.warning("purse.not_returned", purse_id=str(one.purse_id), exc_info=True)

    async def take_batch(self, batch: Sequence[Taking]) -> Sequence[int]:
        rows = await self.pool.fetch(
            SQL.take,
            [one.purse_id for one in batch],
            [one.whose[0] for one in batch],
            [one.whose[1] for one in batch],
            [one.size for one in batch],
            [one.least for one in batch],
            SHARE,
            self.kept_for,
        )
        taken: dict[UUID, int] = {row["id"]: row["amount"] for row in rows}
        return [taken.get(one.purse_id, 0) for one in batch]

    async def charge_batch(self, batch: Sequence[Charge]) -> Sequence[bool]:
        charged: set[UUID] = set()
        try:
            purses = await self.charge_all(batch)
        except asyncpg.UniqueViolationError:
            # By a commit that nobody heard of.
            call_ids = [one.posting.call_id for one in batch]
            charged = {row["call_id"] for row in await self.pool.fetch(SQL.charged, call_ids)}
            purses = await self.charge_all([one for one in batch if one.posting.call_id not in charged])
        return [one.purse_id in purses or one.posting.call_id in charged for one in batch]

    async def charge_all(self, batch: Sequence[Charge]) -> set[UUID]:
        """The purses that were there; their calls are charged."""
        if not batch:
            return set()
        call_ids, *others = texts_of([one.posting for one in batch])
        purse_ids, payee_ids = (
            listed([one.purse_id for one in batch]),
            listed([one.payee_id for one in batch]),
        )
        rows = await self.pool.fetch(SQL.charge, call_ids, purse_ids, payee_ids, *others)
        found = {row["purse_id"]: row for row in rows}
        await telling.low_balances(
            self.pool, {(one.purse_id, one.posting.alert_below) for one in batch}, found
        )
        return set(found)

    async def return_batch(self, batch: Sequence[Return]) -> Sequence[None]:
        kept: dict[UUID, int] = {}
        for one in batch:
            kept[one.purse_id] = min(one.kept, kept.get(one.purse_id, one.kept))
        await self.pool.execute(SQL.give_back, list(kept), list(kept.values()))
        return [None for _ in batch]

    async def close(self) -> None:
        """Once no call is running any more."""
        await asyncio.gather(*self.crew.tasks)
        for spender in self.spenders.values():
            self.retire(spender.purse)
            self.retire(spender.next)
        self.spenders.clear()
        await asyncio.gather(*self.crew.tasks)
        for group in (self.takings, self.charges, self.returns):
            await group.close()


async def return_expired(pool: Pool, limit: int = 500) -> int:
    """Give back what dead processes had taken, and return how many purses that were."""
    async with pool.acquire() as connection, connection.transaction():
        # One that is locked is being charged, or returned by another sweeper.
        due = [row["id"] for row in await connection.fetch(SQL.expired, limit)]
        if due:
            await connection.execute(SQL.give_back, due, [0 for _ in due])
    return len(due)
