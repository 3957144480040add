"""The lines of an invoice: what is on it and what each comes to. Nothing here asks a database.

Amounts are exact fractions of a dollar until they become a line's cents, half to even; the total is the sum
of the lines. What belongs together is rounded together: a fee that a change of plans cut into pieces comes to
the rounded whole, whatever the pieces are. Calls were paid when they were made, so that what they come to is
taken off again: nothing is owed for them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import groupby
from typing import Literal
from uuid import UUID

from config.plans import Billed, Plan
from control.invoicing.wording import decimal, usd

SECOND = timedelta(seconds=1)
HOUR_SECONDS = 3600
GIGABYTE = 10**9
QUANTITY_PLACES = 6
PRICE_PLACES = 9
UNITS: Mapping[Billed, str] = {
    "compute_hours": "Compute, hours of one unit",
    "storage_gb_months": "Storage, GB and month",
    "egress_gb": "Sent, GB",
}
PAID: Mapping[str, str] = {"prepaid": "Paid from the wallet", "x402": "Paid on chain"}


@dataclass(frozen=True, slots=True)
class Line:
    line_type: Literal["plan", "meter", "calls", "paid"]
    description: str
    quantity: str
    unit_price: str
    amount_cents: int
    asset_id: UUID | None = None
    amount_atomic: int | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A plan from one moment to another, at the price of the day it was chosen."""

    name: str
    price_cents: int
    started_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Held:
    """A plan, and the part of the month that it was held for."""

    plan: Plan
    share: Fraction


@dataclass(frozen=True, slots=True)
class Calls:
    """What one publisher's calls came to in one asset."""

    publisher: str
    rail: str
    asset_id: UUID
    symbol: str
    decimals: int
    calls: int
    cost: int


@dataclass(frozen=True, slots=True)
class Month:
    first: date

    @property
    def start(self) -> datetime:
        return datetime(self.first.year, self.first.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Its first moment that is not of this month."""
        return (self.start + timedelta(days=31)).replace(day=1)

    @property
    def seconds(self) -> int:
        return (self.end - self.start) // SECOND


def fees(month: Month, subscriptions: Sequence[Subscription]) -> list[Line]:
    """A line for each plan and the part of the month that it was chosen for, by the second."""
    lines, exact, before = [], Fraction(0), 0
    for one in subscriptions:
        seconds = overlap(month, one)
        if not seconds or not one.price_cents:
            continue
        exact += Fraction(one.price_cents * seconds, month.seconds)
        # What the rounded sum grows by, so that cutting a fee into pieces neither gives nor takes a cent.
        cents, before = round(exact) - before, round(exact)
        share = decimal(Fraction(seconds, month.seconds), QUANTITY_PLACES)
        lines.append(Line("plan", f"Plan {one.name}", share, usd(one.price_cents), cents))
    return lines


def overlap(month: Month, one: Subscription) -> int:
    start = max(month.start, one.started_at)
    end = month.end if one.ends_at is None else min(month.end, one.ends_at)
    return max(0, (end - start) // SECOND)


def metered(held: Sequence[Held], month: Month, used: Mapping[str, int]) -> list[Line]:
    """What was used beyond what the plans include, where they have a price.

    Both are those of each plan for its part of the month: whoever has a large plan for its last second pays
    for a second of it, and gets a second's worth.
    """
    amounts: dict[Billed, Fraction] = {
        "compute_hours": Fraction(used.get("compute_milliseconds", 0), 1000 * HOUR_SECONDS),
        "storage_gb_months": Fraction(
            used.get("storage_byte_hours", 0) * HOUR_SECONDS, GIGABYTE * month.seconds
        ),
        "egress_gb": Fraction(used.get("egress_bytes", 0), GIGABYTE),
    }
    lines = []
    for unit, quantity in amounts.items():
        beyond = quantity - sum(one.share * one.plan.included.get(unit, 0) for one in held)
        price = sum((one.share * Fraction(one.plan.prices.get(unit, "0")) for one in held), Fraction(0))
        if beyond > 0 and price:
            cents = round(beyond * price * 100)
            text = decimal(beyond, QUANTITY_PLACES)
            lines.append(Line("meter", UNITS[unit], text, decimal(price, PRICE_PLACES), cents))
    return lines


def holding(month: Month, chosen: Sequence[tuple[Plan, Subscription]], default: Plan) -> list[Held]:
    """Which plans there were, and for what part of the month; where none was chosen, the first."""
    held = [Held(plan, Fraction(overlap(month, one), month.seconds)) for plan, one in chosen]
    rest = 1 - sum((one.share for one in held), Fraction(0))
    return [*held, Held(default, rest)]


def calls(rows: Iterable[Calls]) -> list[Line]:
    """A line for each publisher, and one for what was paid when they were called: together nothing."""
    lines: list[Line] = []
    # One asset after the other: atomic units of two are never added up.
    ordered = sorted(rows, key=lambda one: (one.rail, one.symbol, str(one.asset_id), one.publisher))
    for (rail, asset_id, symbol), found in groupby(
        ordered, key=lambda one: (one.rail, one.asset_id, one.symbol)
    ):
        made = [line_of(one) for one in found]
        lines += made
        cents = -sum(one.amount_cents for one in made)
        atomic = -sum(one.amount_atomic or 0 for one in made)
        lines.append(Line("paid", f"{PAID[rail]}, {symbol}", "1", usd(cents), cents, asset_id, atomic))
    return lines


def line_of(one: Calls) -> Line:
    dollars = Fraction(one.cost, 10**one.decimals)
    # Calls of one publisher differ in price; the average is what there is to say of them together.
    average = decimal(dollars / one.calls, QUANTITY_PLACES)
    text = f"Calls to {one.publisher}, {one.symbol}"
    return Line("calls", text, str(one.calls), average, round(dollars * 100), one.asset_id, one.cost)
