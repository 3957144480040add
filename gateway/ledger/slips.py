"""Charges to purses, written down durably as they are made and booked a moment later, many at a time.

To book a call takes the database a dozen index entries and two checks, and a statement that does that costs
much however few calls it is for. Nobody has to wait for it: that a call was charged is one row, which a crowd
shares, and the answer goes out when it is committed. What became of a process does not matter to it; the
README says why.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import islice
from operator import index
from uuid import UUID

import asyncpg
import structlog
from asyncpg import Record

from gateway.kit.later import Later
from gateway.kit.sql import OUTAGES, Pool, Statements, listed
from gateway.kit.tasks import Crew
from gateway.ledger import telling
from gateway.ledger.spenders import Purse

SQL = Statements(__file__)

log = structlog.get_logger(__name__)

# How long after a charge it is booked: what a wallet shows as spent is as old as that.
BOOK_SECONDS = 0.05
RETRY_SECONDS = 1
# Of slips in one statement, which keeps others from the accounts it books to.
AT_ONCE = 64
# With so many waiting, calls are paid by holds, which wait for the same database.
WAITING_MAX = 16 * AT_ONCE
# Behind each call, and between fields, lines and slips.
CALL, FIELD, LINE, SLIP = "\x1c", "\x1f", "\x1e", "\x1d"
FIELDS = 8
NOBODY = UUID(int=0)
# Ids are of a millisecond, by the clocks of several machines.
JUST_NOW = timedelta(minutes=-1)


class Charge:
    """A call that was paid from a purse."""

    __slots__ = ("alert_below", "call_id", "is_unsure", "purse", "said", "spent")

    def __init__(self, purse: Purse, call_id: UUID, spent: int, said: str, alert_below: int = 0) -> None:
        self.purse, self.call_id, self.spent = purse, call_id, index(spent)
        self.said = said
        """What its transfer and its usage row say, as ``said`` writes it."""
        self.alert_below = alert_below
        """Write an event when the owner's balance falls below it by this."""
        self.is_unsure = False
        """Whether it was written once, and nobody heard what became of that."""


def said(
    payee_id: UUID, spent: int, fee: int, publisher_id: UUID, status: int, method: str, path: str,
    description: str,
) -> str:  # fmt: skip
    """What calls that are alike have in common, which is all but their ids."""
    fields = payee_id, index(spent), index(fee), publisher_id, status, method, path, description
    line = FIELD.join([str(one) for one in fields])
    if line.count(FIELD) != FIELDS - 1 or any(sign in line for sign in (CALL, LINE, SLIP)):
        raise ValueError("a text has a character in it that is to stand between them")
    return line


class Slips:
    """What one process has written and is to book. Close it before its pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.waiting: dict[UUID, set[tuple[UUID, int]]] = {}
        """By slip: its payer, and below which balance that is told."""
        self.later = Later(self.start)
        self.crew = Crew()
        self.is_booking = False

    @property
    def is_behind(self) -> bool:
        return len(self.waiting) > WAITING_MAX

    async def write(self, batch: Sequence[Charge]) -> set[UUID]:
        """The purses that were there; their calls are charged."""
        if not batch:
            return set()
        purses: dict[UUID, list[Charge]] = {}
        for one in batch:
            purses.setdefault(one.purse.id, []).append(one)
        if len(purses) > 1:
            # In the order that whoever gives back several locks them in.
            purses = dict(sorted(purses.items()))
        try:
            rows = await self.pool.fetch(
                SQL.write,
                listed(purses),
                listed([charges[0].call_id for charges in purses.values()]),
                listed([sum(one.spent for one in charges) for charges in purses.values()]),
                SLIP.join([lines_of(charges) for charges in purses.values()]),
            )
        except OUTAGES:
            for one in batch:
                one.is_unsure = True
            raise
        for purse_id, payer_id in rows:
            charges = purses[purse_id]
            thresholds = {one.alert_below for one in charges}
            self.waiting[charges[0].call_id] = {(payer_id, threshold) for threshold in thresholds}
        self.later.within(BOOK_SECONDS)
        return {purse_id for purse_id, _ in rows}

    async def charged(self, batch: Sequence[Charge]) -> set[UUID]:
        """Those of the batch that were charged before; what wrote them is booked as if it were known."""
        rows = await self.pool.fetch(SQL.charged, [one.call_id for one in batch])
        found = {row["call_id"]: row for row in rows}
        for one in batch:
            if (row := found.get(one.call_id)) is not None and row["slip_id"] is not None:
                told = self.waiting.setdefault(row["slip_id"], set())
                told.add((row["payer_id"], one.alert_below))
                self.later.within(BOOK_SECONDS)
        return set(found)

    def start(self) -> None:
        # One statement at a time: a second would wait for the accounts of the first.
        if not self.is_booking:
            self.is_booking = True
            self.crew.start(self.book_waiting())

    async def book_waiting(self) -> None:
        try:
            is_booked = await self.book_some()
            while is_booked and len(self.waiting) >= AT_ONCE:
                is_booked = await self.book_some()
        finally:
            self.is_booking = False
        if self.waiting:
            self.later.within(BOOK_SECONDS if is_booked else RETRY_SECONDS)

    async def book_some(self) -> bool:
        """False while the database is away: they stay, here and there."""
        some = dict(islice(self.waiting.items(), AT_ONCE))
        try:
            rows = await book(self.pool, [*some])
        except OUTAGES:
            return False
        for slip_id in some:
            del self.waiting[slip_id]
        found: Mapping[UUID, Record] = {row["payer_id"]: row for row in rows}
        await telling.low_balances(self.pool, set().union(*some.values()), found)
        return True

    async def finish(self) -> None:
        """Book what waits. What cannot be booked now is the sweeper's."""
        while self.crew.tasks:
            await asyncio.gather(*self.crew.tasks)
        self.later.cancel()
        while self.waiting and await self.book_some():
            pass
        self.later.cancel()


def lines_of(charges: Sequence[Charge]) -> str:
    """A line for calls that are alike, which is most of those of one owner at one moment."""
    alike: dict[str, list[str]] = {}
    for one in charges:
        alike.setdefault(one.said, []).append(f"{one.call_id}{CALL}")
    return LINE.join(["".join([*names, FIELD, text]) for text, names in alike.items()])


async def book(pool: Pool, slip_ids: Sequence[UUID]) -> Sequence[Record]:
    """The balances of who paid. What cannot be booked stays, is told, and is in nobody's way."""
    try:
        try:
            return await pool.fetch(SQL.book, slip_ids)
        except asyncpg.UniqueViolationError:
            return await pool.fetch(SQL.book_rest, slip_ids)
    except asyncpg.PostgresError as error:
        if isinstance(error, OUTAGES):
            raise
        if len(slip_ids) == 1:
            log.exception("slip.not_booked", call_id=str(slip_ids[0]))
            return []
        half = len(slip_ids) // 2
        return [*await book(pool, slip_ids[:half]), *await book(pool, slip_ids[half:])]


async def book_left_over(pool: Pool, age: timedelta = JUST_NOW) -> None:
    """What dead processes have left, and what living ones would book in a moment, if it is not older."""
    last = NOBODY
    while found := [row["call_id"] for row in await pool.fetch(SQL.left_over, last, AT_ONCE, age)]:
        await book(pool, found)
        last = found[-1]
