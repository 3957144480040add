"""What is asked of holds, and how many of it reach the database at once."""

from collections.abc import Sequence
from operator import index
from typing import Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from gateway.kit.sql import joined, listed
from gateway.kit.values import dataclass

# How long a charge waits for a PostgreSQL that crashed, which is back sooner.
PATIENCE_SECONDS = 5

Obstacle: TypeAlias = Literal["short", "repeated", "per_call", "per_day", "total", "promoted"]
"""Too little money, a key that another call has, or the cap that was reached. Of ``promoted`` nobody hears
but ``Holds``: such a call goes another way.
"""


@dataclass(frozen=True, slots=True)
class Opening:
    """A hold to be opened: at most ``amount`` from what the owner has to spend, to the payee."""

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
PROMOTED = Verdict("promoted")


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
    owner_id: UUID | None = None
    """Whose turn it is, when more are waiting than a batch takes."""


Columns: TypeAlias = tuple[list[UUID], list[UUID], list[UUID], list[UUID], list[int]]


def columns_of(batch: Sequence[Opening]) -> Columns:
    return (
        [one.call_id for one in batch],
        [one.owner_id for one in batch],
        [one.payee_id for one in batch],
        [one.asset_id for one in batch],
        [index(one.amount) for one in batch],
    )


def flat(columns: Columns) -> tuple[str, ...]:
    """As texts, which reach the database for a fraction of what arrays do."""
    return tuple(listed(one) for one in columns)


def texts_of(batch: Sequence[Posting]) -> tuple[str, ...]:
    return (
        listed([one.call_id for one in batch]),
        listed([index(one.spent) for one in batch]),
        listed([index(one.fee) for one in batch]),
        joined([one.description for one in batch]),
        listed([one.publisher_id for one in batch]),
        joined([one.method for one in batch]),
        joined([one.path for one in batch]),
        listed([one.status for one in batch]),
    )


def bonds(batch: Sequence[Opening]) -> tuple[list[UUID | None], list[str | None], list[bytes | None]]:
    return [one.key_id for one in batch], [one.name for one in batch], [one.digest for one in batch]


def verdict(row: Record) -> Verdict:
    return OPEN if row["is_open"] else Verdict(row["obstacle"], row["cap"] or 0, row["remaining"] or 0)
