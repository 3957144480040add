"""What usage comes to at a plan's prices, and the month that it is of."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from config.plans import Billed, Plan
from control.billing.models import ComputeRecord, EndpointEvents, UsageRecord, UsageSummary, V1Subscription
from control.invoicing.wording import usd
from gateway.kit.problem import invalid

HOUR_SECONDS = 3600
GIGABYTE = 10**9
MONTH_HOURS = 730
DAYS_MAX = 3660
# Bought, and no plan that holds.
LOST = ("past_due", "paused", "canceled")
UNITS = {
    "storage_byte_hours": "byte-hours",
    "written_bytes": "bytes",
    "egress_bytes": "bytes",
}


def days(first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """This month until today, where it is not said otherwise."""
    end = last or today
    start = first or end.replace(day=1)
    if start > end:
        raise invalid("query/start_date", "is after end_date")
    if (end - start).days > DAYS_MAX or end.year > today.year + 1:
        raise invalid("query/end_date", "is too far away")
    return start, end


def summary(
    row: Mapping[str, Any], organization_id: UUID, plan: Plan, first: date, last: date
) -> UsageSummary:
    hours = ((last - first).days + 1) * 24
    compute = cents(plan, "compute_hours", Fraction(row["compute_milliseconds"], 1000 * HOUR_SECONDS))
    storage = cents(plan, "storage_gb_months", Fraction(row["byte_hours"], GIGABYTE * MONTH_HOURS))
    return UsageSummary(
        organization_id=organization_id,
        project_id=row["project_id"],
        project_name=row["project_name"],
        project_region=row["project_region"],
        period_start=first,
        period_end=last,
        compute_hours_small=row["small"] / HOUR_SECONDS,
        compute_hours_medium=row["medium"] / HOUR_SECONDS,
        compute_hours_large=row["large"] / HOUR_SECONDS,
        compute_hours_xlarge=row["xlarge"] / HOUR_SECONDS,
        storage_gb_avg=row["byte_hours"] / hours / GIGABYTE,
        compute_cost_usd=usd(compute),
        storage_cost_usd=usd(storage),
        total_cost_usd=usd(compute + storage),
    )


def cents(plan: Plan, unit: Billed, quantity: Fraction) -> int:
    return round(quantity * Fraction(plan.prices.get(unit, "0")) * 100)


def endpoint_events(
    organization_id: UUID, endpoint_id: UUID, readings: list[Any], transitions: list[Any]
) -> EndpointEvents:
    return EndpointEvents(
        organization_id=str(organization_id),
        endpoint_id=str(endpoint_id),
        usage_events=[
            UsageRecord(
                event_type=row["meter"],
                quantity=row["quantity"],
                unit=UNITS[row["meter"]],
                metadata=json.dumps({"compute_units": row["compute_units"]}),
                event_timestamp=row["measured_at"].isoformat(),
            )
            for row in readings
        ],
        compute_usage_events=[
            ComputeRecord(event_type=row["event_type"], event_time=row["happened_at"].isoformat())
            for row in transitions
        ],
    )


def subscribed(
    plan: Plan, chosen: Mapping[str, Any] | None, polar: Mapping[str, Any] | None, now: datetime
) -> V1Subscription:
    """By Polar's word where it is paid there, or was and nothing was chosen since; else by ours."""
    customer_id = polar["customer_id"] if polar is not None else None
    is_paid_there = chosen is not None and chosen["subscription_id"] is not None
    if polar is not None and (is_paid_there or (not plan.price_cents and polar["status"] in LOST)):
        return V1Subscription(
            tier=plan.id,
            status=polar["status"],
            current_period_end=polar["current_period_end"],
            canceled_at=polar["canceled_at"],
            polar_customer_id=customer_id,
        )
    is_ending = chosen is not None and chosen["ends_at"] is not None
    return V1Subscription(
        tier=plan.id,
        status="canceled" if is_ending else "active" if plan.price_cents else "free",
        current_period_end=month(now)[1],
        canceled_at=chosen["cancelled_at"] if chosen is not None and is_ending else None,
        polar_customer_id=customer_id,
    )


def month(now: datetime) -> tuple[datetime, datetime]:
    start = datetime.combine(now.date().replace(day=1), time(), UTC)
    return start, (start + timedelta(days=31)).replace(day=1)


def period(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """Both, or this month."""
    if start is None and end is None:
        return month(now)
    if start is None or end is None or end <= start:
        raise invalid("query/until", "give from and until, and until after from")
    return start, end
