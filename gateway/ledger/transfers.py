"""Money that arrives on chain."""

from collections.abc import Sequence
from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def book(db: Db, payment_ids: Sequence[UUID]) -> None:
    """Credit what was paid, less the fee, and write the calls' usage rows.

    The payments themselves say to whom and for what. Booking one twice violates a constraint.
    """
    await db.execute(SQL.book, payment_ids)


async def book_paid_out(db: Db, payment_ids: Sequence[UUID]) -> None:
    """Record that earnings were received in the publisher's own wallet: earned, and not owed."""
    if payment_ids:
        await db.execute(SQL.book_paid_out, [ids.new() for _ in payment_ids], payment_ids)
