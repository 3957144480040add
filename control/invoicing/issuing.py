"""From a draft to what is owed, or to nothing.

| state | what may be done with it, and by whom |
|---|---|
| draft | made again and issued by the operator or the job, voided by the operator |
| issued | paid by its organization, voided by the operator; it never changes |
| paid, void | nothing more |
"""

from datetime import timedelta
from uuid import UUID

from control.invoicing import drafting
from control.invoicing.drafting import Terms
from control.invoicing.lines import Month
from control.invoicing.wording import numbered, usd
from gateway.kit.sql import Db, Statements
from gateway.ledger import events
from gateway.ledger.event_types import EventType

SQL = Statements(__file__)


class WrongState(Exception):
    """The invoice is not in a state for that; the text says in which."""


async def issue(db: Db, terms: Terms, invoice_id: UUID) -> bool:
    """Write the lines a last time and give it its number: what is due is owed. False when there is none."""
    found = await db.fetchrow(SQL.lock, invoice_id)
    if found is None:
        return False
    if found["status"] != "draft":
        raise WrongState(f"it is {found['status']}, and only a draft is issued")
    month, where, mode = Month(found["month"]), found["organization_id"], found["mode"]
    total = await drafting.write(db, terms, month, where, mode, invoice_id)
    number = int(await db.fetchval(SQL.number, mode))
    await db.execute(SQL.issue, invoice_id, number, timedelta(days=terms.due_days))
    await tell(db, where, "invoice.issued", invoice_id, numbered(mode, number), month, total)
    return True


async def void(db: Db, invoice_id: UUID) -> bool:
    """False when there is no such one."""
    found = await db.fetchrow(SQL.lock, invoice_id)
    if found is None:
        return False
    if found["status"] not in ("draft", "issued"):
        raise WrongState(f"it is {found['status']}, and only what is unpaid is voided")
    await db.execute(SQL.void, invoice_id)
    if found["status"] == "issued":
        number = numbered(found["mode"], found["number"])
        where, month = found["organization_id"], Month(found["month"])
        await tell(db, where, "invoice.voided", invoice_id, number, month, found["total_cents"])
    return True


async def tell(
    db: Db, organization_id: UUID, type: EventType, invoice_id: UUID, number: str, month: Month, total: int
) -> None:
    told = {
        "invoice_id": str(invoice_id),
        "invoice_number": number,
        "month": month.first.isoformat()[:7],
        "total_usd": usd(total),
    }
    await events.emit(db, organization_id, type, told)
