"""What an API key may spend of its organization's balance: in one call, on one UTC day, and in all.

Amounts are millionths of a dollar at face value; see migration 0031. ``holds.sql`` counts and refuses, so
that no two calls ever spend the same remainder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Caps:
    """None is no cap."""

    per_call: int | None = None
    per_day: int | None = None
    total: int | None = None

    def allows(self, other: "Caps") -> bool:
        """Whether ``other`` is nowhere looser than this."""
        mine = (self.per_call, self.per_day, self.total)
        theirs = (other.per_call, other.per_day, other.total)
        return all(
            most is None or (asked is not None and asked <= most)
            for most, asked in zip(mine, theirs, strict=True)
        )

    @property
    def is_set(self) -> bool:
        return self != NO_CAPS


NO_CAPS = Caps()


@dataclass(frozen=True, slots=True)
class Spending:
    """A key's caps and what counts against them: what was charged, and what is held for calls under way."""

    caps: Caps
    spent_today: int
    spent_total: int
    resets_at: datetime


async def find(db: Db, key_ids: Sequence[UUID]) -> Mapping[UUID, Spending]:
    """Keys that never had caps are left out."""
    found = {}
    for row in await db.fetch(SQL.find, key_ids):
        caps = Caps(row["per_call"], row["per_day"], row["total"])
        found[row["key_id"]] = Spending(caps, row["spent_today"], row["spent_total"], row["resets_at"])
    return found


async def lock(db: Db, key_id: UUID) -> Caps:
    """The key's caps, which nobody else changes before this transaction ends."""
    row = await db.fetchrow(SQL.lock, key_id)
    return NO_CAPS if row is None else Caps(row["per_call"], row["per_day"], row["total"])


async def put(db: Db, key_id: UUID, caps: Caps) -> None:
    await db.execute(SQL.put, key_id, caps.per_call, caps.per_day, caps.total)
