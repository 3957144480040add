"""Two-phase spending from a prepaid balance: open a hold for the most a call may cost, then post or void it.

Each statement decides and acts at once for a whole batch of calls, so a balance is neither read stale nor
spent twice, and many calls share one commit. Closing a hold that is already closed changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from gateway.kit.groups import Group
from gateway.kit.sql import Pool, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Opening:
    """A hold to be opened: at most ``amount`` from the owner's funded account to the payee."""

    call_id: UUID
    owner_id: UUID
    payee_id: UUID
    asset_id: UUID
    amount: int


@dataclass(frozen=True, slots=True)
class Posting:
    """What a call did cost, and what its usage row says."""

    call_id: UUID
    spent: int
    fee: int
    """The part of ``spent`` that is the platform's."""
    description: str
    publisher_id: UUID
    method: str
    path: str
    status: int


class Holds:
    """The holds of one process. Close it before its pool."""

    def __init__(self, pool: Pool, lifetime: timedelta) -> None:
        self.pool = pool
        self.lifetime = lifetime
        self.openings = Group(self.open_batch)
        self.postings = Group(self.post_batch)
        self.voidings = Group(self.void_batch)

    async def open(self, opening: Opening) -> bool:
        """False when the owner cannot spend that much."""
        return await self.openings.add(opening)

    async def post(self, posting: Posting) -> bool:
        """True when the hold is posted with this cost: now, or by this call before. False for a void one."""
        return await self.postings.add(posting)

    async def void(self, call_id: UUID) -> bool:
        """True for the one who closed the hold."""
        return await self.voidings.add(call_id)

    async def open_batch(self, batch: Sequence[Opening]) -> Sequence[bool]:
        try:
            opened = await self.try_open(batch)
        except asyncpg.UniqueViolationError:
            opened = {
                row["call_id"] for row in await self.pool.fetch(SQL.opened, [one.call_id for one in batch])
            }
        refused = [one for one in batch if one.call_id not in opened]
        # In a batch, a call too dear for its owner also stands in the way of the owner's later, cheaper ones.
        # Asked again alone, each is refused for its own price only.
        if len(batch) > 1:
            for one in refused:
                opened |= await self.try_open([one])
        return [one.call_id in opened for one in batch]

    async def try_open(self, batch: Sequence[Opening]) -> set[UUID]:
        rows = await self.pool.fetch(
            SQL.open,
            [one.call_id for one in batch],
            [one.owner_id for one in batch],
            [one.payee_id for one in batch],
            [one.asset_id for one in batch],
            [one.amount for one in batch],
            self.lifetime,
        )
        return {row["call_id"] for row in rows}

    async def post_batch(self, batch: Sequence[Posting]) -> Sequence[bool]:
        rows = await self.pool.fetch(
            SQL.post,
            [one.call_id for one in batch],
            [one.spent for one in batch],
            [one.fee for one in batch],
            [one.description for one in batch],
            [one.publisher_id for one in batch],
            [one.method for one in batch],
            [one.path for one in batch],
            [one.status for one in batch],
        )
        closed = {row["call_id"] for row in rows}
        return [one.call_id in closed for one in batch]

    async def void_batch(self, batch: Sequence[UUID]) -> Sequence[bool]:
        closed = {row["call_id"] for row in await self.pool.fetch(SQL.void, list(batch))}
        return [call_id in closed for call_id in batch]

    async def close(self) -> None:
        for group in (self.openings, self.postings, self.voidings):
            await group.close()


async def void_expired(pool: Pool, limit: int = 500) -> int:
    """Void holds that outlived their calls, as a dead process leaves them, and return how many."""
    async with pool.acquire() as connection, connection.transaction():
        # A locked hold is being closed by its own call, or by another sweeper.
        due = [row["call_id"] for row in await connection.fetch(SQL.expired, limit)]
        return len(await connection.fetch(SQL.void, due)) if due else 0
