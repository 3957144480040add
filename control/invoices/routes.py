from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from asyncpg.pool import Pool as AnyPool
from pydantic import Field

from control.api import access
from control.api.access import Actor, Forbidden, Suspended
from control.api.answers import Done, Html
from control.api.fields import Day, OrganizationId
from control.api.operation import Call, Header, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.api.permissions import OPERATE
from control.invoices import rules, store
from control.invoices.models import GenerateInvoices, Invoice, InvoicesGenerated, InvoiceSummary, Shown
from control.invoices.store import Wanted
from control.invoicing import drafting, issuing, monthly
from control.invoicing.drafting import FIRST, Terms
from control.invoicing.issuing import WrongState
from control.invoicing.lines import Month
from control.metering import rollups
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.kit.sql import Db
from gateway.ledger.accounts import PLATFORM

room = Room("invoices", "/billing/invoices")


class InvoiceState(Refusal):
    status, slug, title = 409, "invoice-state", "The invoice's state does not allow that"


@room.post("/generate", access=OPERATE, is_transaction=False, id="generate_invoices")
async def generate(call: Call, *, body: GenerateInvoices) -> Data[InvoicesGenerated]:
    """Make the invoices of a month that is over, for all organizations, as drafts.

    An organization has one for a month in live money and one in test money, as far as there is anything to
    say. Asked again, drafts are brought up to date, and whatever was issued stays as it is.
    """
    month = Month(date(body.year, body.month, 1))
    pool = call.db
    assert isinstance(pool, AnyPool), "it is not one transaction"
    if month.end > await monthly.today(pool):
        raise invalid("body/month", "is not over yet")
    async with call.transaction():
        # What follows is a transaction for each organization; this one says that somebody asked.
        pass
    await rollups.roll_up(pool, is_waiting=True)
    terms, made, after = terms_of(call), list[UUID](), FIRST
    while found := await drafting.candidates(pool, month, after):
        for organization_id in found:
            made += await drafting.draft(pool, terms, month, organization_id)
        after = found[-1]
    return Data(data=InvoicesGenerated(invoice_ids=made, count=len(made)))


@room.get("/{id}", access="billing.read", fails=[NotFound], id="get_invoice")
async def show(
    call: Call, id: UUID, *, accept: Annotated[str | None, Header("Accept")] = None
) -> Data[Invoice] | Html:
    """Show an invoice with its lines: as JSON, or as a page to print for whoever prefers `text/html`.

    The sum of the lines is the total, to the cent. Calls are listed with what they came to, and taken off
    again, because they were paid when they were made.
    """
    row = await store.get(call.db, id)
    if row is None or not await may_see(call.db, call.actor, row["organization_id"]):
        raise NotFound(f"no invoice {id}")
    invoice = await store.whole(call.db, row)
    if rules.wants_page(accept):
        return Html(rules.page(invoice, row["organization_name"], call.ports.settings.invoicing.issuer))
    return Data(data=invoice)


@room.post("/{id}/issue", access=OPERATE, fails=[NotFound, InvoiceState], id="issue_invoice")
async def issue(call: Call, id: UUID) -> Done:
    """Issue a draft: it is brought up to date a last time, gets its number, and what is due is owed."""
    try:
        is_there = await issuing.issue(call.db, terms_of(call), id)
    except WrongState as error:
        raise InvoiceState(str(error)) from None
    if not is_there:
        raise NotFound(f"no invoice {id}")
    return Done()


@room.post(
    at="/platform/invoices/{id}/void", access=OPERATE, fails=[NotFound, InvoiceState], id="invoices.void"
)
async def void(call: Call, id: UUID) -> Data[Invoice]:
    """Void an invoice that is not paid. Its number stays used, and another one can be made for its month."""
    try:
        is_there = await issuing.void(call.db, id)
    except WrongState as error:
        raise InvoiceState(str(error)) from None
    row = await store.get(call.db, id)
    if not is_there or row is None:
        raise NotFound(f"no invoice {id}")
    return Data(data=await store.whole(call.db, row))


@room.get(at="/organizations/{organization_id}/invoices", access="billing.read", id="invoices.index")
async def index(
    call: Call,
    organization_id: OrganizationId,
    *,
    status: Shown | None = None,
    limit: Limit = 20,
    offset: Offset = 0,
) -> Page[InvoiceSummary]:
    """List an organization's invoices, the newest month first.

    `status=issued` has what is not paid, and `status=overdue` those of them that are past their date.
    """
    wanted = Wanted(organization_id=organization_id, status=status)
    total, found = await store.page(call.db, wanted, limit, offset)
    return page(found, total, limit, offset)


@room.get(at="/platform/invoices", access=OPERATE, id="invoices.index_of_all")
async def index_of_all(
    call: Call,
    *,
    status: Shown | None = None,
    organization_id: UUID | None = None,
    month: Annotated[Day | None, Field(description="Any day of it, UTC.")] = None,
    mode: Literal["live", "test"] | None = None,
    limit: Limit = 20,
    offset: Offset = 0,
) -> Page[InvoiceSummary]:
    """List the invoices of all organizations, the newest month first.

    `status=issued` has what is not paid, and `status=overdue` those of them that are past their date.
    """
    first = month.replace(day=1) if month else None
    wanted = Wanted(organization_id=organization_id, status=status, month=first, mode=mode)
    total, found = await store.page(call.db, wanted, limit, offset)
    return page(found, total, limit, offset)


async def may_see(db: Db, actor: Actor, organization_id: UUID) -> bool:
    """Its own organization, one of the asker's others, or the operator."""
    for where, permission in ((organization_id, "billing.read"), (PLATFORM, OPERATE)):
        try:
            await access.elsewhere(db, actor, where, permission)
        except (NotFound, Forbidden, Suspended):
            continue
        return True
    return False


def terms_of(call: Call) -> Terms:
    settings = call.ports.settings
    return drafting.terms(settings.plans, settings.networks, settings.invoicing)
