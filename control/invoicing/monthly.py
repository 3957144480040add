"""The job that makes the invoices of months that are over, once over all replicas, some at a time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from control.invoicing import drafting, issuing
from control.invoicing.drafting import SQL, Terms, Wanting
from control.invoicing.issuing import WrongState
from control.invoicing.lines import Month
from control.metering import rollups
from gateway.kit.sql import Pool

# Calls that began before the month ended are booked by then, and usage is added up.
SETTLED_AFTER = timedelta(minutes=30)
LEASE = timedelta(minutes=5)
# A month that could not be done a year ago is for a person.
MONTHS = 12
ERROR_LENGTH = 500

log = structlog.get_logger(__name__)


def is_over(month: Month, now: datetime) -> bool:
    return month.end + SETTLED_AFTER <= now


def over(now: datetime) -> list[Month]:
    """The months of the last year that are over, the newest first."""
    months: list[Month] = []
    first = now.astimezone(UTC).date().replace(day=1)
    while len(months) < MONTHS:
        first = (first - timedelta(days=1)).replace(day=1)
        if is_over(Month(first), now):
            months.append(Month(first))
    return months


async def today(pool: Pool) -> datetime:
    """By the database's clock: a worker whose own is ahead must not end a month."""
    now: datetime = await pool.fetchval(SQL.now)
    return now


async def bill(pool: Pool, terms: Terms, now: datetime | None = None) -> int:
    """Make and issue some of the invoices that are due, and return how many organizations were looked at.

    How far it came is written down after them: whoever goes on after a crash makes some again, which changes
    nothing, and leaves out none. Months that are done are looked at again each day, because usage may come
    late and a network may be added.
    """
    firsts = [month.first for month in over(now or await today(pool))]
    await pool.execute(SQL.begin_runs, firsts)
    while (leased := await pool.fetchrow(SQL.lease_run, firsts, LEASE)) is not None:
        month = Month(leased["month"])
        await rollups.roll_up(pool, is_waiting=True)
        found = await drafting.due(pool, terms, month, leased["done_up_to"], is_draft_enough=False)
        for one in found:
            await make(pool, terms, month, one)
        if found:
            await pool.execute(SQL.advance_run, month.first, found[-1].organization_id)
            return len(found)
        await pool.execute(SQL.finish_run, month.first)
    return 0


async def make(pool: Pool, terms: Terms, month: Month, wanting: Wanting) -> None:
    """One organization's; what cannot be made keeps nobody else waiting, and is tried again in an hour.

    A database that is away cannot write that down either: then nobody is passed over.
    """
    organization_id = wanting.organization_id
    try:
        for invoice_id in await drafting.draft(pool, terms, month, organization_id, wanting.modes):
            await issue_draft(pool, terms, invoice_id)
    except Exception as error:
        log.exception("invoice.not_made", organization_id=str(organization_id), month=month.first.isoformat())
        told = f"{type(error).__name__}: {error}"[:ERROR_LENGTH]
        await pool.execute(SQL.fail, organization_id, month.first, told)


async def issue_draft(pool: Pool, terms: Terms, invoice_id: UUID) -> None:
    async with pool.acquire() as db, db.transaction():
        try:
            await issuing.issue(db, terms, invoice_id)
        except WrongState:
            # Issued before, by whoever died or by the operator.
            return


async def count_failures(pool: Pool) -> int:
    return int(await pool.fetchval(SQL.count_failures))
