"""What becomes of an invoice that nobody pays: reminders, and then no more of what would be on the next one.

Calls go on, whatever is owed: each is paid when it is made, from the caller's own balance.
"""

from datetime import timedelta
from uuid import UUID

from asyncpg import Record

from config.plans import Invoicing
from control.invoicing.wording import numbered, usd
from control.mail import outbox
from control.mail.letters import Letter
from gateway.kit.problem import Refusal
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import events

SQL = Statements(__file__)

BATCH = 100
NEWS_LIFETIME = timedelta(days=7)
STATES = {
    "due_soon": "is due in three days or less",
    "overdue": "is overdue",
    "overdue_still": "is overdue still",
    "restricted": "is overdue",
}
RESTRICTED = "Until it is paid, there are no new projects and no plans that cost something."


class InvoiceOverdue(Refusal):
    status, slug, title = 402, "invoice-overdue", "An invoice is overdue"


async def require_paid(db: Db, settings: Invoicing, organization_id: UUID) -> None:
    """Before something is chosen or made that costs, or may cost, at the end of the month."""
    if not settings.suspend_after_days:
        return
    row = await db.fetchrow(SQL.oldest, organization_id, settings.suspend_after_days)
    if row is not None:
        raise InvoiceOverdue(
            f"{sentence(row, 'is overdue')} "
            f"Pay it with POST /billing/invoices/{row['id']}/pay, or …/pay/wallet."
        )
    if await db.fetchval(SQL.other_owes, organization_id, settings.suspend_after_days):
        # Its members need not be those of the other one: no number, and no amount.
        raise InvoiceOverdue("whoever made this organization owns another one, whose invoice is overdue")


async def remind(pool: Pool, settings: Invoicing) -> int:
    """Tell of some invoices what they have come to, each stage once; returns of how many.

    Who was not reminded in time, because no worker ran, is told the last stage and not all of them.
    """
    async with pool.acquire() as db, db.transaction():
        found = await db.fetch(SQL.lock, settings.suspend_after_days, BATCH)
        for row in found:
            # Another worker may have told it since the rows were read, and its lock is gone by now.
            if await db.fetchval(SQL.mark, row["id"], row["due_at"], row["stage"]) is not None:
                await tell(db, row)
    return len(found)


async def tell(db: Db, row: Record) -> None:
    told = {
        "invoice_id": str(row["id"]),
        "invoice_number": numbered(row["mode"], row["number"]),
        "month": row["month"].isoformat()[:7],
        "total_usd": usd(row["total_cents"]),
        "due_at": row["due_at"].isoformat(),
        "stage": row["stage"],
    }
    await events.emit(db, row["organization_id"], "invoice.reminder", told)
    for one in await db.fetch(SQL.owners, row["organization_id"]):
        written = letter(row, one["name"], one["organization"])
        await outbox.post(db, one["email"], written, NEWS_LIFETIME)


def letter(row: Record, owner: str, organization: str) -> Letter:
    state = STATES[row["stage"]]
    consequence = f" {RESTRICTED}" if row["stage"] == "restricted" else ""
    return Letter(
        f"An invoice of {organization} {state}",
        f"Hello {owner},",
        f"{sentence(row, state)} It is paid by card or from the balance of {organization}.{consequence}",
        "You get this letter because you own the organization.",
    )


def sentence(row: Record, state: str) -> str:
    number, total = numbered(row["mode"], row["number"]), usd(row["total_cents"])
    day = row["due_at"].date().isoformat()
    return f"Invoice {number} of {row['month']:%Y-%m}, {total} USD to be paid by {day}, {state}."


async def count_overdue(db: Db) -> int:
    return int(await db.fetchval(SQL.count_overdue))
