"""Invoices that should have been made for a month and were not."""

from datetime import timedelta
from uuid import UUID

from config.settings import Settings
from control.invoicing import drafting, monthly
from control.invoicing.drafting import FIRST, Terms
from control.invoicing.lines import Month
from control.reconciling.checks import SHOWN_MAX, Difference, Result
from gateway.kit.sql import Pool
from gateway.types import Mode

NAME = "unmade"
MEANING = "each month of the last year that is over has its invoices"
# Until a month's are missed: the job has a day, and an operator who makes them by hand two weeks.
GRACE, PATIENT_GRACE = timedelta(days=1), timedelta(days=14)


async def compare(pool: Pool, settings: Settings) -> Result:
    terms = drafting.terms(settings.plans, settings.networks, settings.invoicing)
    grace = GRACE if settings.invoicing.is_automatic else PATIENT_GRACE
    now, found = await monthly.today(pool), list[Difference]()
    for month in monthly.over(now):
        if month.end + grace <= now and len(found) < SHOWN_MAX:
            found += await of_month(pool, terms, month)
    return Result(NAME, MEANING, tuple(found[:SHOWN_MAX]))


async def of_month(pool: Pool, terms: Terms, month: Month) -> list[Difference]:
    found, after = list[Difference](), FIRST
    while wanting := await drafting.due(pool, terms, month, after, is_draft_enough=True):
        for one in wanting:
            found += [
                Difference(f"{mode} invoice of {one.organization_id} for {month.first:%Y-%m}", "one", "none")
                for mode in one.modes
                if await is_needed(pool, terms, month, one.organization_id, mode)
            ]
        after = wanting[-1].organization_id
    return found


async def is_needed(pool: Pool, terms: Terms, month: Month, organization_id: UUID, mode: Mode) -> bool:
    """What was used may be included in the plan, and then there is nothing to say."""
    return bool(await drafting.lines(pool, terms, month, organization_id, mode))
