from datetime import date
from typing import Annotated

from pydantic import Field

from control.api.answers import Csv
from control.api.fields import Day
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset
from control.transactions import rules, sheet, store
from control.transactions.models import History, Summary
from control.transactions.store import Span
from gateway.kit.problem import invalid

room = Room("transactions", "/wallet/transactions")

StartDate = Annotated[Day | None, Field(description="From the start of this day, UTC.")]
EndDate = Annotated[Day | None, Field(description="Until the start of this day, UTC.")]


@room.get(access="wallet.read", id="get_transactions")
async def index(
    call: Call,
    *,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Annotated[
        str | None,
        Field(max_length=200, description="`next_cursor` of the page before; `offset` is ignored."),
    ] = None,
    include_usage: Annotated[
        bool, Field(description="Show every call; otherwise calls are put together by day and publisher.")
    ] = False,
    exact_total: Annotated[bool, Field(description="Count them all, which takes longer.")] = False,
    start_date: StartDate = None,
    end_date: EndDate = None,
) -> Data[History]:
    """List what went in and out of your organization's balance, newest first.

    The description of each line says why it was charged or credited.
    """
    span = span_of(call, start_date, end_date, is_usage_included=include_usage)
    try:
        after = rules.read_cursor(cursor) if cursor is not None else None
    except ValueError as error:
        raise invalid("query/cursor", str(error)) from None
    skipped = 0 if after else offset
    # One more than asked for tells whether there is another page.
    found = await store.lines(call.db, span, after, limit + 1, skipped)
    page, has_more = found[:limit], len(found) > limit
    is_exact = exact_total or (after is None and not has_more and (bool(page) or skipped == 0))
    total = await store.count_lines(call.db, span) if exact_total else skipped + len(found)
    history = History(
        transactions=page,
        total=total,
        total_is_exact=is_exact,
        limit=limit,
        offset=skipped,
        next_cursor=rules.cursor(page[-1].created_at, page[-1].id) if has_more else None,
    )
    return Data(data=history)


@room.get("/summary", access="wallet.read", id="get_transaction_summary")
async def summary(call: Call, *, start_date: StartDate = None, end_date: EndDate = None) -> Data[Summary]:
    """Add up what went in and out of your organization's balance, in the money of your key."""
    span = span_of(call, start_date, end_date)
    rows = await store.sums(call.db, span)
    return Data(data=rules.summary(rows, start_date, end_date))


@room.get("/export", access="wallet.read", id="export_transactions")
async def export(call: Call, *, start_date: StartDate = None, end_date: EndDate = None) -> Csv:
    """Save what went in and out as a CSV file, newest first and each call a line.

    Amounts are exact, in the asset's atomic unit and as decimal text. At most 100,000 lines: ask for fewer
    days when you need more.
    """
    span = span_of(call, start_date, end_date, is_usage_included=True)
    lines = await store.lines(call.db, span, None, sheet.LINES_MAX + 1, 0)
    if len(lines) > sheet.LINES_MAX:
        raise invalid("query/start_date", f"leaves more than {sheet.LINES_MAX} lines; ask for fewer days")
    return Csv(sheet.write(lines), f"wallet-{call.actor.mode}.csv")


def span_of(call: Call, start: date | None, end: date | None, *, is_usage_included: bool = False) -> Span:
    if start is not None and end is not None and end < start:
        raise invalid("query/end_date", "is before start_date")
    return Span(
        call.actor.organization_id,
        call.actor.mode,
        is_usage_included,
        rules.midnight(start),
        rules.midnight(end),
    )
