"""Money that arrives on chain."""

from collections.abc import Sequence
from uuid import UUID

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def book(db: Db, payment_ids: Sequence[UUID], payout_ids: Sequence[UUID | None] | None = None) -> None:
    """Credit what was paid, less the fee, and write the calls' usage rows.

    The payments themselves say to whom and for what. Booking one twice violates a constraint.
    """
    await db.execute(SQL.book, payment_ids, payout_ids or [None] * len(payment_ids))


def booking(settling: str, beside: str) -> str:
    """One statement that books what ``settling`` settles: both or neither, and in one round trip.

    ``settling`` returns what ``arrived`` does: ``id``, and ``payout_id`` for earnings that were received in
    the publisher's own wallet and are not owed. ``beside`` is done with it.
    """
    *before, after = SQL.book.split(SQL.arrived)
    assert len(before) == 1, "what is booked is said in one place"
    return f"{before[0]}{settling}), beside AS ({beside}{after}"
