"""Two-phase spending from a prepaid balance: open a hold for the most a call may cost, then post or void it.

Each statement decides and acts at once for a whole batch of calls, so a balance is neither read stale nor
spent twice, and many calls share one commit. Closing a hold that is already closed changes nothing.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from operator import index
from typing import Literal, TypeAlias
from uuid import UUID

import asyncpg
import structlog
from asyncpg import Record

from gateway.kit.groups import Group
from gateway.kit.sql import OUTAGES, Db, Pool, Statements, joined, listed
from gateway.kit.tasks import Crew
from gateway.kit.values import dataclass

SQL = Statements(__file__)

# A PostgreSQL that crashed is back sooner, as a rule.
PATIENCE_SECONDS = 5

log = structlog.get_logger(__name__)

Obstacle: TypeAlias = Literal["short", "repeated", "per_call", "per_day", "total"]
"""Too little money, a key that another call has, or the cap that was reached."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A hold to be opened: at most ``amount`` from the owner's funded account to the payee."""

    call_id: UUID
    owner_id: UUID
    payee_id: UUID
    asset_id: UUID
    amount: int
    key_id: UUID | None = None
    """The API key, if it has caps."""
    name: str | None = None
    """The idempotency key, if it has one: no two calls of an owner are open or charged under the same."""
    digest: bytes | None = None
    """SHA-256 of the request that ``name`` stands for."""

    @property
    def is_bound(self) -> bool:
        return self.key_id is not None or self.name is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a hold was opened. ``cap`` and ``remaining`` are millionths, of the cap that was reached."""

    obstacle: Obstacle | None = None
    cap: int = 0
    remaining: int = 0

    @property
    def is_open(self) -> bool:
        return self.obstacle is None


OPEN = Verdict()
SHORT = Verdict("short")


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
    is_partial: bool = False
    """Whether it is less than what was counted against the caps of an API key."""
    alert_below: int = 0
    """Write an event when this charge takes the owner's balance below it."""


class Holds:
    """The holds of one process. Close it before its pool."""

    def __init__(self, pool: Pool, lifetime: timedelta) -> None:
        self.pool = pool
        self.lifetime = lifetime
        self.openings = Group(self.open_batch)
        # What was served is paid for, if the database is back in time. What is not voided, expires.
        self.postings = Group(self.post_batch, patience_seconds=PATIENCE_SECONDS)
        # Apart, so that calls with caps or keys of their own do not make the others' statements longer.
        self.bound_openings = Group(self.open_batch)
        self.partial_postings = Group(self.post_batch, patience_seconds=PATIENCE_SECONDS)
        self.voidings = Group(self.void_batch)
        self.crew = Crew()

    async def open(self, opening: Opening) -> Verdict:
        return await (self.bound_openings if opening.is_bound else self.openings).add(opening)

    async def post(self, posting: Posting) -> bool:
        """True when the hold is posted with this cost: now, or by this call before. False for a void one."""
        return await (self.partial_postings if posting.is_partial else self.postings).add(posting)

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

    async def open_batch(self, batch: Sequence[Opening]) -> Sequence[Verdict]:
        # Whether a call is refused for money alone, and others' caps and keys have no part in it.
        is_plain = not any(one.is_bound for one in batch)
        try:
            verdicts = await self.try_open(batch)
        except asyncpg.UniqueViolationError:
            is_plain = False
            verdicts = dict.fromkeys([one.call_id for one in batch], SHORT)
            verdicts |= await self.opened([one.call_id for one in batch])
        for one in unsure(batch, verdicts, is_plain=is_plain):
            verdicts |= await self.try_open([one])
        repeated = [call_id for call_id, one in verdicts.items() if one.obstacle == "repeated"]
        if repeated:
            # A call may find its key taken by itself, in a commit that nobody heard of.
            verdicts |= await self.opened(repeated)
        return [verdicts[one.call_id] for one in batch]

    async def opened(self, call_ids: Sequence[UUID]) -> dict[UUID, Verdict]:
        return {row["call_id"]: OPEN for row in await self.pool.fetch(SQL.opened, call_ids)}

    async def try_open(self, batch: Sequence[Opening]) -> dict[UUID, Verdict]:
        columns = (
            listed([one.call_id for one in batch]),
            listed([one.owner_id for one in batch]),
            listed([one.payee_id for one in batch]),
            listed([one.asset_id for one in batch]),
            listed([index(one.amount) for one in batch]),
            self.lifetime,
        )
        if any(one.is_bound for one in batch):
            return await self.try_open_bound(batch, columns)
        opened = {row["call_id"] for row in await self.pool.fetch(SQL.open, *columns)}
        return {one.call_id: OPEN if one.call_id in opened else SHORT for one in batch}

    async def try_open_bound(
        self, batch: Sequence[Opening], columns: tuple[object, ...]
    ) -> dict[UUID, Verdict]:
        rows = await self.pool.fetch(
            SQL.open_bound,
            *columns,
            [one.key_id for one in batch],
            [one.name for one in batch],
            [one.digest for one in batch],
        )
        verdicts = {}
        for row in rows:
            verdicts[row["call_id"]] = (
                OPEN if row["is_open"] else Verdict(row["obstacle"], row["cap"] or 0, row["remaining"] or 0)
            )
        if len(batch) == 1 and not rows[0]["is_told"]:
            await self.tell(SQL.cap_reached, batch[0].key_id, rows[0]["obstacle"])
        return verdicts

    async def post_batch(self, batch: Sequence[Posting]) -> Sequence[bool]:
        columns = (
            listed([one.call_id for one in batch]),
            listed([index(one.spent) for one in batch]),
            listed([index(one.fee) for one in batch]),
            joined([one.description for one in batch]),
            listed([one.publisher_id for one in batch]),
            joined([one.method for one in batch]),
            joined([one.path for one in batch]),
            listed([one.status for one in batch]),
        )
        if any(one.is_partial for one in batch):
            async with self.pool.acquire() as connection, connection.transaction():
                await connection.execute(SQL.give_back, *columns[:2])
                rows = await connection.fetch(SQL.post, *columns)
        else:
            rows = await self.pool.fetch(SQL.post, *columns)
        closed = {row["call_id"]: row for row in rows}
        await self.tell_low(batch, closed)
        posted = set(closed)
        if late := [one for one in batch if one.call_id not in closed]:
            # Void, or posted by a commit that nobody heard of.
            asked = listed([one.call_id for one in late]), listed([index(one.spent) for one in late])
            posted |= {row["call_id"] for row in await self.pool.fetch(SQL.posted, *asked)}
        return [one.call_id in posted for one in batch]

    async def tell_low(self, batch: Sequence[Posting], closed: Mapping[UUID, Record]) -> None:
        """Each commit has its own balance before and after, so one of them alone crosses a threshold."""
        crossed = {
            (row["payer_id"], one.alert_below): row["balance"]
            for one in batch
            if (row := closed.get(one.call_id)) is not None
            and row["balance"] is not None
            and row["balance"] < one.alert_below <= row["balance_before"]
        }
        for (payer_id, threshold), balance in crossed.items():
            await self.tell(SQL.tell_low, payer_id, str(threshold), str(balance))

    async def tell(self, statement: str, *values: object) -> None:
        """Write an event. What it tells of is committed, and must not look undone when this fails."""
        try:
            await self.pool.execute(statement, *values)
        except (*OUTAGES, asyncpg.PostgresError):
            log.exception("event.lost")

    async def void_batch(self, batch: Sequence[UUID]) -> Sequence[bool]:
        closed = {row["call_id"] for row in await self.pool.fetch(SQL.void, list(batch))}
        return [call_id in closed for call_id in batch]

    async def close(self) -> None:
        # Not cancelled: each of them gives somebody's money back.
        await asyncio.gather(*self.crew.tasks)
        groups = (self.openings, self.bound_openings, self.postings, self.partial_postings, self.voidings)
        for group in groups:
            await group.close()


def unsure(
    batch: Sequence[Opening], verdicts: Mapping[UUID, Verdict], *, is_plain: bool
) -> Iterator[Opening]:
    """Those that another's price may have refused: asked again alone, each is refused for its own only.

    In a batch, a call too dear for its owner also stands in the way of the owner's later ones. Where money
    alone decides, only a cheaper one can fit after it: so a crowd without money is refused as fast as it
    comes, and keeps nobody waiting.
    """
    least: dict[tuple[UUID, UUID], int] = {}
    for one in batch if len(batch) > 1 else ():
        if verdicts[one.call_id].obstacle in (None, "repeated"):
            continue
        payer = one.owner_id, one.asset_id
        if not is_plain or one.amount < least.get(payer, 0):
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
    async with pool.acquire() as connection, connection.transaction():
        # A locked hold is being closed by its own call, or by another sweeper.
        due = [row["call_id"] for row in await connection.fetch(SQL.expired, limit)]
        return len(await connection.fetch(SQL.void, due)) if due else 0


async def prune_keys(pool: Pool, kept: timedelta) -> None:
    """Forget idempotency keys that were kept for long enough."""
    await pool.execute(SQL.prune, kept)
