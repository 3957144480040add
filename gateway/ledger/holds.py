"""Two-phase spending from a prepaid balance: open a hold for the most a call may cost, then post or void it.

Each statement decides and acts at once for a whole batch of calls, so a balance is neither read stale nor
spent twice, and many calls share one commit. Closing a hold that is already closed changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Literal, TypeAlias
from uuid import UUID

import asyncpg
from asyncpg import Record

from gateway.kit.groups import Group
from gateway.kit.sql import OUTAGES, Db, Pool, Statements
from gateway.kit.tasks import Crew
from gateway.ledger import promoted, telling
from gateway.ledger.batches import (
    OPEN,
    PATIENCE_SECONDS,
    PROMOTED,
    SHORT,
    Opening,
    Posting,
    Verdict,
    bonds,
    columns_of,
    flat,
    texts_of,
    verdict,
)
from gateway.ledger.promoted import Promoted

SQL = Statements(__file__)

Ask: TypeAlias = Callable[[Sequence[Opening]], Awaitable[dict[UUID, Verdict]]]


class Holds:
    """The holds of one process. Close it before its pool."""

    def __init__(self, pool: Pool, lifetime: timedelta) -> None:
        self.pool = pool
        self.lifetime = lifetime
        self.openings = Group(self.open_batch, whose=owner)
        # What was served is paid for, if the database is back in time. What is not voided, expires.
        self.postings = Group(self.post_batch, patience_seconds=PATIENCE_SECONDS, whose=owner)
        # Apart, so that calls with caps or keys of their own do not make the others' statements longer.
        self.bound_openings = Group(self.open_batch, whose=owner)
        self.partial_postings = Group(self.post_batch, patience_seconds=PATIENCE_SECONDS, whose=owner)
        # Apart as well: they draw on several accounts and grants.
        self.promoted = Promoted(pool)
        self.promoted_openings = Group(partial(self.open_batch, ask=self.try_open_promoted), whose=owner)
        self.promoted_postings = Group(
            partial(self.post_batch, statements=(promoted.SQL.post,)),
            patience_seconds=PATIENCE_SECONDS,
            whose=owner,
        )
        self.voidings = Group(self.void_batch)
        self.crew = Crew()

    async def open(self, opening: Opening) -> Verdict:
        if self.promoted.is_known(opening.owner_id, opening.asset_id):
            return await self.promoted_openings.add(opening)
        return await (self.bound_openings if opening.is_bound else self.openings).add(opening)

    async def post(self, posting: Posting) -> bool:
        """True when the hold is posted with this cost: now, or by this call before. False for a void one."""
        if self.promoted.is_drawn(posting.call_id):
            return await self.promoted_postings.add(posting)
        return await (self.partial_postings if posting.is_partial else self.postings).add(posting)

    async def charge_late(self, opening: Opening, posting: Posting) -> bool:
        """Charge a call that was served, and was not charged to its purse. False when there is no money."""
        try:
            verdict = await self.open(opening)
        except BaseException:
            self.give_up(opening.call_id)
            raise
        if not verdict.is_open:
            return False
        try:
            return await self.post(posting)
        except asyncpg.UniqueViolationError:
            # Its purse paid after all, by a commit that came through only now, and that is booked.
            await self.void(opening.call_id)
            return True

    async def void(self, call_id: UUID) -> bool:
        """True for the one who closed the hold."""
        return await self.voidings.add(call_id)

    def give_up(self, call_id: UUID) -> None:
        """Void, if it can be done, a hold that may have been opened, and let nobody wait for it."""
        self.crew.start(self.try_void(call_id))

    async def try_void(self, call_id: UUID) -> None:
        # While the database is away there is nothing to void either; what there is, expires.
        with suppress(*OUTAGES, asyncpg.PostgresError):
            await self.void(call_id)

    async def open_batch(self, batch: Sequence[Opening], ask: Ask | None = None) -> Sequence[Verdict]:
        ask = ask or self.try_open
        # Whether a call is refused for money alone, and others' caps and keys have no part in it.
        is_plain = not any(one.is_bound for one in batch)
        try:
            verdicts = await ask(batch)
        except asyncpg.UniqueViolationError:
            is_plain = False
            verdicts = dict.fromkeys([one.call_id for one in batch], SHORT)
            verdicts |= await self.opened([one.call_id for one in batch])
        for one in unsure(batch, verdicts, self.promoted, is_plain=is_plain):
            verdicts |= await ask([one])
        repeated = [call_id for call_id, one in verdicts.items() if one.obstacle == "repeated"]
        if repeated:
            # A call may find its key taken by itself, in a commit that nobody heard of.
            verdicts |= await self.opened(repeated)
        return [verdicts[one.call_id] for one in batch]

    async def opened(self, call_ids: Sequence[UUID]) -> dict[UUID, Verdict]:
        return {row["call_id"]: OPEN for row in await self.pool.fetch(SQL.opened, call_ids)}

    async def try_open(self, batch: Sequence[Opening]) -> dict[UUID, Verdict]:
        columns = columns_of(batch)
        if any(one.is_bound for one in batch):
            rows = await self.pool.fetch(SQL.open_bound, *flat(columns), self.lifetime, *bonds(batch))
            verdicts = {row["call_id"]: verdict(row) for row in rows}
            await self.tell_reached(batch, rows)
        else:
            rows = await self.pool.fetch(SQL.open, *flat(columns), self.lifetime)
            verdicts = dict.fromkeys([one.call_id for one in batch], SHORT)
            verdicts |= {row["call_id"]: PROMOTED if row["is_promoted"] else OPEN for row in rows}
        if others := [one for one in batch if verdicts[one.call_id] == PROMOTED]:
            self.promoted.learn((one.owner_id, one.asset_id) for one in others)
            verdicts |= await self.try_open_promoted(others)
        return verdicts

    async def try_open_promoted(self, batch: Sequence[Opening]) -> dict[UUID, Verdict]:
        rows = await self.promoted.open(*columns_of(batch), self.lifetime, *bonds(batch))
        await self.tell_reached(batch, rows)
        return {row["call_id"]: verdict(row) for row in rows}

    async def tell_reached(self, batch: Sequence[Opening], rows: Sequence[Record]) -> None:
        if len(batch) == 1 and not rows[0]["is_told"]:
            await telling.cap_reached(self.pool, batch[0].key_id, rows[0]["obstacle"])

    async def post_batch(
        self, batch: Sequence[Posting], statements: Sequence[str] = (SQL.post, promoted.SQL.post)
    ) -> Sequence[bool]:
        closed: dict[UUID, Record] = {}
        for statement in statements:
            if left := [one for one in batch if one.call_id not in closed]:
                closed |= {row["call_id"]: row for row in await self.charge(statement, left)}
        await telling.low_balances(self.pool, [(one.call_id, one.alert_below) for one in batch], closed)
        posted = set(closed)
        if late := [one for one in batch if one.call_id not in closed]:
            # Void, or posted by a commit that nobody heard of.
            asked = texts_of(late)[:2]
            posted |= {row["call_id"] for row in await self.pool.fetch(SQL.posted, *asked)}
        return [one.call_id in posted for one in batch]

    async def charge(self, statement: str, batch: Sequence[Posting]) -> Sequence[Record]:
        values = texts_of(batch)
        if not any(one.is_partial for one in batch):
            return await self.pool.fetch(statement, *values)
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(SQL.give_back, *values[:2])
            return await connection.fetch(statement, *values)

    async def void_batch(self, batch: Sequence[UUID]) -> Sequence[bool]:
        closed: set[UUID] = set()
        for statement in (SQL.void, promoted.SQL.void):
            if left := [call_id for call_id in batch if call_id not in closed]:
                closed |= {row["call_id"] for row in await self.pool.fetch(statement, left)}
        return [call_id in closed for call_id in batch]

    async def close(self) -> None:
        # Not cancelled: each of them gives somebody's money back.
        await asyncio.gather(*self.crew.tasks)
        for group in (
            self.openings, self.bound_openings, self.promoted_openings,
            self.postings, self.partial_postings, self.promoted_postings, self.voidings,
        ):  # fmt: skip
            await group.close()


def owner(one: Opening | Posting) -> UUID | None:
    return one.owner_id


def unsure(
    batch: Sequence[Opening], verdicts: Mapping[UUID, Verdict], known: Promoted, *, is_plain: bool
) -> Iterator[Opening]:
    """Those that another's price may have refused: asked again alone, each is refused for its own only.

    In a batch, a call too dear for its owner also stands in the way of the owner's later ones. Where money
    alone decides, only a cheaper one can fit after it: so a crowd without money is refused as fast as it
    comes, and keeps nobody waiting.
    """
    least: dict[tuple[UUID, ...], int] = {}
    for one in batch if len(batch) > 1 else ():
        if verdicts[one.call_id].obstacle in (None, "repeated"):
            continue
        # What promotional money does not pay for one payee, it may for another.
        is_split = known.is_known(one.owner_id, one.asset_id)
        payer = one.owner_id, one.asset_id, one.payee_id if is_split else one.owner_id
        if not is_plain or one.amount < least.get(payer, one.amount + 1 if is_split else 0):
            yield one
        # Read after the asking: who was let in after all is no measure.
        if not verdicts[one.call_id].is_open:
            least[payer] = min(one.amount, least.get(payer, one.amount))


async def find_keyed(db: Db, owner_id: UUID, name: str) -> Record | None:
    """The call that has this idempotency key, with its hold and, once it was answered, its answer."""
    return await db.fetchrow(SQL.repeated, owner_id, name)


async def state(db: Db, call_id: UUID) -> Literal["open", "posted", "void"] | None:
    found: Literal["open", "posted", "void"] | None = await db.fetchval(SQL.state, call_id)
    return found


async def void_expired(pool: Pool, limit: int = 500) -> int:
    """Void holds that outlived their calls, as a dead process leaves them, and return how many."""
    voided = 0
    for one in (SQL, promoted.SQL):
        async with pool.acquire() as connection, connection.transaction():
            # A locked hold is being closed by its own call, or by another sweeper.
            due = [row["call_id"] for row in await connection.fetch(one.expired, limit)]
            voided += len(await connection.fetch(one.void, due)) if due else 0
    return voided


async def prune_keys(pool: Pool, kept: timedelta) -> None:
    """Forget idempotency keys that were kept for long enough."""
    await pool.execute(SQL.prune, kept)
