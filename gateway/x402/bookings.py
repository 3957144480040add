"""Settled payments on their way into the ledger: each at once while they are few, a crowd's a moment later.

To book a payment is three entries, a transfer, a usage row and the payment's own: a statement that costs as
much for one as for ten. No caller has to wait for it. That a payment settled is on the chain, whose stored
transaction the reconciler looks up if this process dies; where nobody could say it a second time, it is
written down before the answer goes out, in a row for many. The README says more.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import itemgetter
from uuid import UUID

import asyncpg
import structlog

from gateway.kit.groups import Crowd, Group
from gateway.kit.later import Later
from gateway.kit.sql import OUTAGES, Pool, Statements
from gateway.kit.tasks import Crew
from gateway.x402 import payments
from gateway.x402.payments import Settled

SQL = Statements(__file__)

log = structlog.get_logger(__name__)

# How long after its answer a payment is booked: what a publisher has earned is as old as that.
BOOK_SECONDS = 0.05
RETRY_SECONDS = 1
# With so many waiting, calls wait for their own again, which wait for the same database.
WAITING_MAX = 1024


class Bookings:
    """Those of one process. Close it before its pool."""

    def __init__(self, pool: Pool, crowd: Crowd | None = None) -> None:
        self.pool = pool
        # One lane: every batch locks the same clearing account, so a second one would only wait.
        self.at_once = Group(self.book_batch, lanes=1, crowd=crowd)
        self.slips = Group(self.write_batch, crowd=crowd)
        self.waiting: dict[UUID, Settled] = {}
        """Payments whose callers wait no more."""
        self.written: list[UUID] = []
        """Slips whose payments are among those, or booked."""
        self.later = Later(self.start_booking)
        self.crew = Crew()
        self.is_booking = False

    async def start(self) -> None:
        await book_left_over(self.pool, timedelta(0))

    @property
    def is_behind(self) -> bool:
        return len(self.waiting) > WAITING_MAX

    async def book(self, payment_id: UUID, settled: Settled) -> None:
        """Returns when it is in the ledger."""
        await self.decided(self.at_once, payment_id, settled)

    async def promise(self, payment_id: UUID, settled: Settled) -> None:
        """Returns when it cannot be lost any more; it is in the ledger a moment later."""
        if settled.is_final:
            await self.decided(self.slips, payment_id, settled)
        else:
            self.expect({payment_id: settled})

    async def decided(
        self, group: Group[tuple[UUID, Settled], None], payment_id: UUID, settled: Settled
    ) -> None:
        try:
            await group.add((payment_id, settled))
        except OUTAGES:
            # Its caller is told that nobody knows yet. It is known here, and perhaps nobody says it again.
            self.expect({payment_id: settled})
            raise

    def expect(self, settled: Mapping[UUID, Settled]) -> None:
        self.waiting |= settled
        self.later.within(BOOK_SECONDS)

    async def book_batch(self, batch: Sequence[tuple[UUID, Settled]]) -> Sequence[None]:
        # Whoever was first has booked the others.
        await payments.settle(self.pool, dict(batch))
        return [None] * len(batch)

    async def write_batch(self, batch: Sequence[tuple[UUID, Settled]]) -> Sequence[None]:
        settled = dict(batch)
        slip_id = batch[0][0]
        await self.pool.execute(SQL.write, slip_id, list(settled), payments.hashes(settled))
        self.written.append(slip_id)
        self.expect(settled)
        return [None] * len(batch)

    def start_booking(self) -> None:
        # One statement at a time: a second would wait for the accounts of the first.
        if not self.is_booking:
            self.is_booking = True
            self.crew.start(self.book_waiting())

    async def book_waiting(self) -> None:
        """While the database is away they stay, here and there."""
        settled, self.waiting = self.waiting, {}
        slips, self.written = self.written, []
        seconds = BOOK_SECONDS
        try:
            await book(self.pool, settled, slips)
        except OUTAGES:
            self.waiting, self.written = settled | self.waiting, slips + self.written
            seconds = RETRY_SECONDS
        finally:
            self.is_booking = False
        if self.waiting:
            self.later.within(seconds)

    async def close(self) -> None:
        """Book what waits. What cannot be booked now is the background jobs'."""
        await self.slips.close()
        await self.at_once.close()
        # What is being booked now, and what came after that had begun.
        await asyncio.gather(*self.crew.tasks)
        self.later.cancel()
        self.start_booking()
        await asyncio.gather(*self.crew.tasks)
        self.later.cancel()


async def book(pool: Pool, settled: Mapping[UUID, Settled], slips: Sequence[UUID]) -> None:
    """Book these payments, and remove the slips that said so; they stay where one could not be booked."""
    # In the order that whoever else books some of them has them in.
    is_whole = await book_by_halves(pool, sorted(settled.items(), key=itemgetter(0)))
    if is_whole and slips:
        await pool.execute(SQL.remove, slips)


async def book_by_halves(pool: Pool, settled: Sequence[tuple[UUID, Settled]]) -> bool:
    """False when one could not be booked: it is told, is looked at again, and is in nobody's way."""
    if not settled:
        return True
    try:
        await payments.settle(pool, dict(settled))
    except asyncpg.PostgresError as error:
        if isinstance(error, OUTAGES):
            raise
        if len(settled) == 1:
            log.exception("payment.not_booked", payment_id=str(settled[0][0]))
            return False
        half = len(settled) // 2
        parts = [await book_by_halves(pool, part) for part in (settled[:half], settled[half:])]
        return all(parts)
    return True


async def book_left_over(pool: Pool, age: timedelta) -> None:
    """What dead processes had written, and what living ones would book in a moment, if it is not older."""
    last = UUID(int=0)
    while found := await pool.fetch(SQL.left_over, last, age):
        for row in found:
            told = [Settled("0x" + one.hex(), is_final=True) for one in row["hashes"]]
            await book(pool, dict(zip(row["payment_ids"], told, strict=True)), [row["id"]])
            last = row["id"]
