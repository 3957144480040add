"""Periods and percentages."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Period:
    """Days of UTC, both ends included, and the as many before them."""

    start: date
    end: date

    @property
    def before(self) -> "Period":
        length = self.end - self.start + timedelta(days=1)
        return Period(self.start - length, self.start - timedelta(days=1))

    @property
    def days(self) -> list[date]:
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days + 1)]


def until_today(days: int) -> Period:
    today = datetime.now(UTC).date()
    return Period(today - timedelta(days=days - 1), today)


def change(now: int, before: int) -> int:
    """In percent, rounded half away from zero."""
    if before == 0:
        return 100 if now else 0
    doubled = 200 * (now - before)
    return (abs(doubled) + before) // (2 * before) * (1 if doubled >= 0 else -1)


def percent(part: int, whole: int) -> float:
    """With two decimals: a share is no money."""
    return round(100 * part / whole, 2) if whole else 0.0
