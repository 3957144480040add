from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg import Record

from gateway.kit.sql import Db, Statements
from gateway.ledger import payouts

SQL = Statements(__file__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an organization can have paid out in an asset, and what it cannot yet."""

    available: int
    amount: int
    until: datetime | None


async def publisher(db: Db, organization_id: UUID, publisher_id: UUID) -> Record | None:
    """Deleted ones too: what they earned stays theirs."""
    return await db.fetchrow(SQL.publisher, organization_id, publisher_id)


async def waiting(db: Db, organization_id: UUID, asset_id: UUID, age: timedelta) -> Waiting:
    """What is earned and too young to be paid out."""
    available = max(await payouts.available(db, organization_id, asset_id, age), 0)
    if not age:
        return Waiting(available, 0, None)
    amount = max(await payouts.available(db, organization_id, asset_id, timedelta()), 0) - available
    if amount <= 0:
        return Waiting(available, 0, None)
    oldest: UUID | None = await db.fetchval(SQL.oldest_young, organization_id, asset_id, age)
    # A transfer is as old as its id, as it is when a payout is asked for.
    since = None if oldest is None else EPOCH + timedelta(milliseconds=oldest.int >> 80)
    return Waiting(available, amount, None if since is None else since + age)


async def by_asset(db: Db, organization_id: UUID, publisher_id: UUID, mode: str) -> Sequence[Record]:
    """To the last call, whether it is added up yet or not."""
    while True:
        counted_until = await db.fetchval(SQL.counted_until)
        rows = await db.fetch(SQL.by_asset, organization_id, publisher_id, mode, counted_until)
        # Added up between the two, which happens every few seconds and not twice in a moment.
        if all(row["is_current"] for row in rows):
            return rows
