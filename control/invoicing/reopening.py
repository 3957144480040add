"""An invoice that was paid by card and is not any more, because a bank took the payment back.

What was booked stays booked, the payment and its reversal both, and the invoice is paid again under another
cause.
"""

from uuid import UUID

from asyncpg import Record

from control.invoicing.wording import numbered, usd
from gateway.kit import ids
from gateway.kit.sql import Db, Statements
from gateway.ledger import events
from gateway.ledger.event_types import EventType

SQL = Statements(__file__)


async def reopen(db: Db, invoice_id: UUID, cause_id: UUID, reversal_id: UUID) -> bool:
    """Make it due again; False when it is not that payment which it is paid by."""
    found = await db.fetchrow(SQL.lock, invoice_id)
    if found is None or found["status"] != "paid" or found["cause_id"] != cause_id:
        return False
    source = found["paid_source"]
    await db.execute(
        SQL.remember, reversal_id, invoice_id, cause_id, source, found["paid_reference"], found["paid_at"]
    )
    due_at = await db.fetchval(SQL.reopen, invoice_id, ids.new())
    await tell(db, found, "invoice.reopened", due_at=due_at.isoformat(), source=source)
    return True


async def is_reopened(db: Db, invoice_id: UUID, cause_id: UUID) -> bool:
    """Whether that payment was taken back, and has not become the one that it is paid by again."""
    return await db.fetchval(SQL.reopened, invoice_id, cause_id) is not None


async def restore(db: Db, invoice_id: UUID, cause_id: UUID) -> bool:
    """The money of that payment is there again, or a part of it: a dispute of the rest leaves it paid.

    False when the invoice that it paid was paid again, or voided, meanwhile.
    True as well where nothing was reopened: the money is for what it was for.
    """
    past = await db.fetchrow(SQL.reopened, invoice_id, cause_id)
    if past is None:
        return True
    found = await db.fetchrow(SQL.lock, invoice_id)
    assert found is not None, "invoices stay"
    if found["status"] != "issued":
        return False
    kept = past["cause_id"], past["paid_source"], past["paid_reference"], past["paid_at"]
    await db.execute(SQL.restore, invoice_id, *kept)
    await db.execute(SQL.withdraw, past["reversal_id"])
    await tell(db, found, "invoice.paid", source=past["paid_source"])
    return True


async def tell(db: Db, invoice: Record, type: EventType, **more: str) -> None:
    told = {
        "invoice_id": str(invoice["id"]),
        "invoice_number": numbered(invoice["mode"], invoice["number"]),
        "month": invoice["month"].isoformat()[:7],
        "total_usd": usd(invoice["total_cents"]),
        **more,
    }
    await events.emit(db, invoice["organization_id"], type, told)
