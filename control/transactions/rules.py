"""How a history is added up, and where a page of it ends."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from control.transactions.models import Summary
from gateway.kit.money import millionths, usd


def midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


def summary(rows: Iterable[Mapping[str, Any]], start: date | None, end: date | None) -> Summary:
    """``rows`` are assets with what the span ends with, its credits and its debits.

    Each is rounded down by itself, but for debits: they are what makes the sums come out.
    """
    starts = ends = gained = count = 0
    for row in rows:
        decimals = row["decimals"]
        ends += millionths(row["ends"], decimals)
        starts += millionths(row["ends"] - row["credits"] + row["debits"], decimals)
        gained += millionths(row["credits"], decimals)
        count += row["transactions"]
    change = ends - starts
    return Summary(
        period_start=start,
        period_end=end,
        starting_balance_atomic=starts,
        starting_balance_usd=usd(starts),
        total_credits_atomic=gained,
        total_credits_usd=usd(gained),
        total_debits_atomic=gained - change,
        total_debits_usd=usd(gained - change),
        net_change_atomic=change,
        net_change_usd=f"-{usd(-change)}" if change < 0 else usd(change),
        ending_balance_atomic=ends,
        ending_balance_usd=usd(ends),
        transaction_count=count,
    )


def cursor(created_at: datetime, line_id: UUID) -> str:
    """Opaque to clients: the place in the order, not a count, so new lines do not shift a page."""
    return base64.urlsafe_b64encode(f"{created_at.isoformat()}|{line_id}".encode()).decode()


def read_cursor(text: str) -> tuple[datetime, UUID]:
    try:
        created_at, _, line_id = base64.b64decode(text, altchars=b"-_", validate=True).decode().partition("|")
        # In UTC, which a time at either end of the calendar does not have.
        at = datetime.fromisoformat(created_at).astimezone(UTC)
        return at, UUID(line_id)
    except (ValueError, OverflowError, binascii.Error):
        raise ValueError("is not a cursor from an earlier page") from None
