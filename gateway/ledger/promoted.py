"""Calls of owners who have promotional money, which is spent before anything else.

They take longer than others': a hold draws on several grants and on two accounts. So they go a way of their
own, which ``holds`` sends them when an account says that there is promotional money beside it, and remembers
for the owner's next calls. Whoever has none any more is sent back.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog
from asyncpg import Record

from gateway.kit.sql import OUTAGES, Pool, Statements

SQL = Statements(__file__)

# Owners that a process remembers, as long as it is not told otherwise: far more than call at the same time.
KNOWN_MAX = 65_536

log = structlog.get_logger(__name__)


class Promoted:
    """What one process knows: who has promotional money, and which of its open holds draw on some.

    It is a hint and no more. A call that goes the wrong way is sent, or posted, the other way.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.owners: set[tuple[UUID, UUID]] = set()
        self.drawn: set[UUID] = set()

    def is_known(self, owner_id: UUID, asset_id: UUID) -> bool:
        return (owner_id, asset_id) in self.owners

    def is_drawn(self, call_id: UUID) -> bool:
        """Asked once, when the hold is closed."""
        if call_id not in self.drawn:
            return False
        self.drawn.discard(call_id)
        return True

    def learn(self, owners: Iterable[tuple[UUID, UUID]]) -> None:
        if len(self.owners) > KNOWN_MAX:
            self.owners.clear()
        self.owners.update(owners)

    async def open(
        self,
        call_ids: Sequence[UUID],
        owner_ids: Sequence[UUID],
        payee_ids: Sequence[UUID],
        asset_ids: Sequence[UUID],
        amounts: Sequence[int],
        lifetime: timedelta,
        key_ids: Sequence[UUID | None],
        *names: object,
    ) -> Sequence[Record]:
        """A row for each call, as ``open_bound`` has them."""
        values = (call_ids, owner_ids, payee_ids, asset_ids, amounts, lifetime, key_ids, *names)
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(SQL.lock, owner_ids, asset_ids, key_ids)
            rows = await connection.fetch(SQL.open, *values)
        self.drawn.update(row["call_id"] for row in rows if row["is_drawn"])
        owners = dict(zip(call_ids, zip(owner_ids, asset_ids, strict=True), strict=True))
        done = [row for row in rows if not row["is_promoted"]]
        if done:
            self.owners.difference_update(owners[row["call_id"]] for row in done)
            await self.send_back([row["payer_id"] for row in done if row["payer_id"] is not None])
        return rows

    async def send_back(self, account_ids: Sequence[UUID]) -> None:
        """The calls are open or refused already, and must not look undone when this fails."""
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                await connection.execute(SQL.lock_funded, account_ids)
                await connection.execute(SQL.unpromote, account_ids)
        except (*OUTAGES, asyncpg.PostgresError):
            log.warning("promotion.not_closed", exc_info=True)
