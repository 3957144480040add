"""What a change of plans does, and how a plan and its quotas are shown."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from uuid import UUID

from config.plans import QUOTAS, Plan, Quota
from control.invoicing.wording import decimal
from control.plans.models import PlanDetails, QuotaState, QuotaUsage
from control.quotas.catalogue import id_of

HOUR_SECONDS = 3600
GIGABYTE = 10**9


def next_month(now: datetime) -> datetime:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def starts_at(now: datetime, price_cents: int, new_price_cents: int) -> datetime:
    """What costs as much or more begins at once; what costs less when the month is over."""
    return now.replace(microsecond=0) if new_price_cents >= price_cents else next_month(now)


def details(plans: Sequence[Plan], plan: Plan) -> PlanDetails:
    compute, storage = plan.quotas.get("compute_seconds"), plan.quotas.get("storage_bytes")
    return PlanDetails(
        id=id_of(plan),
        name=plan.id,
        display_name=plan.name,
        description=plan.description or None,
        price_monthly=plan.price_per_month,
        max_projects=plan.quotas.get("projects"),
        compute_hours_quota=None if compute is None else compute // HOUR_SECONDS,
        storage_gb_quota=None if storage is None else decimal(Fraction(storage, GIGABYTE), 9),
        data_transfer_gb_included=plan.included.get("egress_gb"),
        compute_price_per_cu_hour=plan.prices.get("compute_hours"),
        storage_price_per_gb_month=plan.prices.get("storage_gb_months"),
        data_transfer_price_per_gb=plan.prices.get("egress_gb"),
        support_level=plan.support,
        sort_order=list(plans).index(plan),
        quotas=dict(plan.quotas),
        soft_quotas=list(plan.soft),
        included=dict(plan.included),
    )


def usage(
    organization_id: UUID, plans: Sequence[Plan], plan: Plan, counts: Mapping[Quota, int]
) -> QuotaUsage:
    states = {quota: state(plan, quota, counts[quota]) for quota in QUOTAS}
    hours = counts["compute_seconds"] / HOUR_SECONDS
    return QuotaUsage(
        organization_id=organization_id,
        plan=details(plans, plan),
        quotas=list(states.values()),
        current_projects=counts["projects"],
        current_branches=counts["branches"],
        current_compute_hours=hours,
        current_serendb_compute_hours=hours,
        current_storage_gb=counts["storage_bytes"] / GIGABYTE,
        is_over_projects_quota=states["projects"].is_over,
        is_over_compute_quota=states["compute_seconds"].is_over,
        is_over_storage_quota=states["storage_bytes"].is_over,
        projects_usage_percent=states["projects"].usage_percent,
        compute_hours_usage_percent=states["compute_seconds"].usage_percent,
        storage_usage_percent=states["storage_bytes"].usage_percent,
    )


def state(plan: Plan, quota: Quota, count: int) -> QuotaState:
    limit = plan.quotas.get(quota)
    return QuotaState(
        quota=quota,
        used=count,
        limit=limit,
        usage_percent=round(count * 100 / limit, 2) if limit else None,
        is_hard=limit is not None and quota not in plan.soft,
        is_over=limit is not None and count > limit,
    )
