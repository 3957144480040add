"""Which time is meant, and what its readings come to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from control.consumption.models import Consumption
from gateway.kit.problem import invalid

HOUR = timedelta(hours=1)
# Beyond it a request would only be slow.
DAYS_MAX = 3660


@dataclass(frozen=True, slots=True)
class Window:
    first: date
    last: date
    now: datetime

    @property
    def start(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def end(self) -> datetime:
        """The end of the last day, or now."""
        whole = datetime.combine(self.last, time(), UTC) + timedelta(days=1)
        return max(self.start, min(whole, self.now))

    def month(self, first: date) -> "Window":
        """The part of it in the month that begins on this day."""
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        return Window(max(self.first, first), min(self.last, last), self.now)


def window(first: date | None, last: date | None, now: datetime) -> Window:
    """This month until today, where it is not said otherwise."""
    end = last or now.date()
    start = first or (end if last else now.date()).replace(day=1)
    if start > end:
        raise invalid("query/start_date", "is after end_date")
    if (end - start).days > DAYS_MAX or end.year > now.year + 1:
        raise invalid("query/end_date", "is too far away")
    return Window(start, end, now)


def consumption(row: Mapping[str, Any] | None, window: Window) -> Consumption:
    if row is None:
        return Consumption()
    hours = max(1, (window.end - window.start) // HOUR)
    return Consumption(
        active_time_seconds=row["active"],
        compute_time_seconds=row["compute"],
        serendb_compute_time_seconds=row["compute"],
        synthetic_storage_size_bytes=row["byte_hours"] // hours,
        written_data_bytes=row["written"],
        data_transfer_bytes=row["sent"],
    )
