"""Money that arrives on chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A settled payment: ``amount`` less ``fee`` for an account, the fee for the platform."""

    payment_id: UUID
    kind: Literal["charge", "deposit"]
    credit_id: UUID
    asset_id: UUID
    amount: int
    fee: int
    description: str


async def book(db: Db, arrivals: Sequence[Arrival]) -> None:
    """Credit them all. Booking a payment twice violates a constraint."""
    columns = [[getattr(one, name) for one in arrivals] for name in Arrival.__slots__]
    await db.execute(SQL.book, *columns)


async def book_paid_out(db: Db, arrivals: Sequence[Arrival]) -> None:
    """Record that earnings were received in the publisher's own wallet: earned, and not owed."""
    if not arrivals:
        return
    names = "payment_id", "credit_id", "asset_id", "amount", "description"
    columns = [[getattr(one, name) for one in arrivals] for name in names]
    await db.execute(SQL.book_paid_out, [ids.new() for _ in arrivals], *columns)
