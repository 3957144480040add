"""Money that a process takes out of a balance ahead of the calls that will spend it.

A hold for each call is a commit that the call waits for before its upstream is asked. Who calls often and
has plenty left is spared it: a purse holds the price of some calls at once, a call is paid from it by a
subtraction in memory, and only its charge is a commit (``slips.py``). The README says why no money is lost or
spent twice by that.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

import asyncpg
import structlog

from gateway.kit import ids
from gateway.kit.groups import Crowd, Group
from gateway.kit.sql import OUTAGES, Pool, Statements
from gateway.kit.tasks import Crew
from gateway.kit.values import dataclass
from gateway.ledger import slips
from gateway.ledger.batches import PATIENCE_SECONDS
from gateway.ledger.slips import Charge, Slips
from gateway.ledger.spenders import KEPT_SECONDS, REST_TICKS, SHARE, TICK_SECONDS, Purse, Spender

SQL = Statements(__file__)

log = structlog.get_logger(__name__)


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
            whose=lambda one: one.purse.id,
            is_light=True,
        )
        self.returns = Group(self.return_batch)
        self.slips = Slips(pool)
        self.spenders: dict[Whose, Spender] = {}
        self.crew = Crew()
        self.is_ticking = False

    async def start(self) -> None:
        """Book what processes before this one have left, so that it is seen before this one is ready."""
        with suppress(*OUTAGES):
            await slips.book_left_over(self.pool)

    def draw(self, owner_id: UUID, asset_id: UUID, amount: int) -> Purse | None:
        """Pay a call with so much. None where it needs a hold: its owner calls rarely, or has little left."""
        whose, now_seconds = (owner_id, asset_id), time.monotonic()
        spender = self.spenders.get(whose) or self.met(whose)
        spender.calls += 1
        spender.amount += amount
        purse, after = spender.purse, spender.next
        if after is not None and (purse is None or not purse.has(amount, now_seconds)):
            self.retire(spender.turn())
            purse = after
        if (wanted := spender.wants()) is not None:
            spender.is_asking = spender.is_ahead = True
            self.crew.start(self.take(spender, Taking(ids.new(), whose, *wanted)))
        if purse is None or self.slips.is_behind or not purse.has(amount, now_seconds):
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

    async def take(self, spender: Spender, taking: Taking) -> None:
        ends_seconds = time.monotonic() + KEPT_SECONDS
        try:
            amount = await self.takings.add(taking)
        except (*OUTAGES, asyncpg.PostgresError):
            amount = 0
            # Perhaps it was taken, and nobody heard of it.
            self.give_back(taking.purse_id, 0)
        spender.is_asking = False
        if not amount:
            spender.rest = REST_TICKS
        else:
            spender.give(Purse(taking.purse_id, amount, ends_seconds))

    def charge(self, charge: Charge) -> "asyncio.Future[bool]":
        """True when the call is charged: now, or before. False when its purse is gone or has too little.

        Whoever is cancelled while waiting is so once it is decided. What stays unknown is not drawn again.
        """
        self.crowd.count -= 1
        return self.charges.add(charge)

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
        now_seconds = time.monotonic()
        for whose, spender in list(self.spenders.items()):
            if spender.calls == 0 and not spender.is_asking and spender.purse is None:
                del self.spenders[whose]
            for purse in spender.end_tick(now_seconds):
                self.retire(purse)
        self.is_ticking = bool(self.spenders)
        if self.is_ticking:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self.tick)

    async def give_up(self, owner_id: UUID, asset_id: UUID, asked_seconds: float) -> bool:
        """Give back what can be: its owner lacks it. False when there is nothing, nor on its way, and when
        nothing has come back since the balance was asked.
        """
        spender = self.spenders.get((owner_id, asset_id))
        if spender is None:
            return False
        if not spender.is_ahead:
            return spender.returned_seconds >= asked_seconds
        spender.rest = REST_TICKS
        # The database may have given one by now.
        await self.moved()
        self.retire(spender.turn())
        self.retire(spender.turn())
        # Also what somebody else gave up a moment ago, who waits for it as well.
        await self.moved()
        spender.is_ahead = spender.is_asking or spender.purse is not None
        spender.returned_seconds = time.monotonic()
        return True

    async def moved(self) -> None:
        """Once what is being taken and given back now is, or is not to be had for as long as groups wait."""
        if self.crew.tasks:
            await asyncio.wait(self.crew.tasks)

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
        decided = await self.decide(batch)
        for one, is_charged in zip(batch, decided, strict=True):
            if not is_charged:
                # What it pays for from here on would be served and not be paid.
                one.purse.ends_seconds = 0
            self.done(one.purse, one.spent)
        return decided

    async def decide(self, batch: Sequence[Charge]) -> Sequence[bool]:
        try:
            return await self.write_batch(batch)
        except asyncpg.CheckViolationError:
            if len(batch) > 1:
                raise
            # Its purse has less than is counted here: such a commit was written twice, this call's perhaps.
            return [bool(await self.slips.charged(batch))]

    async def write_batch(self, batch: Sequence[Charge]) -> Sequence[bool]:
        slips, charged = self.slips, set[UUID]()
        if any(one.is_unsure for one in batch):
            charged = await slips.charged(batch)
        try:
            purses = await slips.write(
                [one for one in batch if one.call_id not in charged] if charged else batch
            )
        except asyncpg.UniqueViolationError:
            # By a commit that nobody heard of, which came through only now.
            charged = await slips.charged(batch)
            purses = await slips.write([one for one in batch if one.call_id not in charged])
        late = [one for one in batch if one.purse.id not in purses and one.call_id not in charged]
        if late:
            # The purse is gone: it had expired, or such a commit took the last of it.
            charged |= await slips.charged(late)
        return [one.purse.id in purses or one.call_id in charged for one in batch]

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
            self.retire(spender.turn())
            self.retire(spender.turn())
        self.spenders.clear()
        await asyncio.gather(*self.crew.tasks)
        for group in (self.takings, self.charges, self.returns):
            await group.close()
        await self.slips.finish()


async def return_expired(pool: Pool, limit: int = 500, slip_age: timedelta = slips.JUST_NOW) -> int:
    """Give back what dead processes had taken, and return how many purses that were.

    What they had charged is booked first, as slips of that age.
    """
    await slips.book_left_over(pool, slip_age)
    async with pool.acquire() as connection, connection.transaction():
        # One that is locked is being charged, or returned by another sweeper.
        due = [row["id"] for row in await connection.fetch(SQL.expired, limit)]
        if due:
            await connection.execute(SQL.give_back, due, [0 for _ in due])
    return len(due)
