"""The job that makes last month's invoices, once over all replicas, some at a time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from control.invoicing import drafting, issuing
from control.invoicing.drafting import SQL, Terms
from control.invoicing.issuing import WrongState
from control.invoicing.lines import Month
from control.metering import rollups
from gateway.kit.sql import Pool

# Calls that began before the month ended are booked by then, and usage is added up.
SETTLED_AFTER = timedelta(minutes=30)
LEASE = timedelta(minutes=5)


def last_month(now: datetime) -> Month:
    return Month((now.replace(day=1) - timedelta(days=1)).date().replace(day=1))


def is_over(month: Month, now: datetime) -> bool:
    return month.end + SETTLED_AFTER <= now


async def bill(pool: Pool, terms: Terms, now: datetime | None = None) -> int:
    """Make and issue some of the invoices that are due, and return how many organizations were looked at.

    How far it came is written down after them: whoever goes on after a crash makes some again, which changes
    nothing, and leaves out none.
    """
    at = now or datetime.now(UTC)
    month = last_month(at)
    if not is_over(month, at):
        return 0
    await pool.execute(SQL.begin_run, month.first)
    after = await pool.fetchval(SQL.lease_run, month.first, LEASE)
    if after is None:
        return 0
    await rollups.roll_up(pool, is_waiting=True)
    found = await drafting.candidates(pool, month, after)
    for organization_id in found:
        for invoice_id in await drafting.draft(pool, terms, month, organization_id):
            await issue_draft(pool, terms, invoice_id)
    if found:
        await pool.execute(SQL.advance_run, month.first, found[-1])
    else:
        await pool.execute(SQL.finish_run, month.first)
    return len(found)


async def issue_draft(pool: Pool, terms: Terms, invoice_id: UUID) -> None:
    async with pool.acquire() as db, db.transaction():
        try:
            await issuing.issue(db, terms, invoice_id)
        except WrongState:
            # Issued before, by whoever died or by the operator.
            return
