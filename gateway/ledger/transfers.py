"""Money that arrives on chain."""

from typing import Literal
from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def book_payment(
    db: Db,
    payment_id: UUID,
    kind: Literal["charge", "deposit"],
    credit_id: UUID,
    asset_id: UUID,
    amount: int,
    fee: int,
    description: str,
) -> None:
    """Credit ``amount`` less ``fee`` to an account. Booking a payment twice violates a constraint."""
    values = (payment_id, credit_id, asset_id, amount, fee, kind, description)
    await db.execute(SQL.book_payment, *values)


async def book_paid_out(
    db: Db, payment_id: UUID, credit_id: UUID, asset_id: UUID, amount: int, description: str
) -> None:
    """Record that an earning was received in the publisher's own wallet: earned, and not owed."""
    values = (ids.new(), payment_id, credit_id, asset_id, amount, description)
    await db.execute(SQL.book_paid_out, *values)
