from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from config.plans import Billed, Quota

INT32_MAX = 2**31 - 1
# Plans are settings and have no history.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class PlanDetails(BaseModel):
    """A plan of this installation. What a quota does not name has no limit."""

    id: UUID
    name: str
    display_name: str
    description: str | None
    price_monthly: Annotated[str, Field(description="In dollars.")]
    max_projects: int | None
    compute_hours_quota: int | None
    storage_gb_quota: str | None
    data_transfer_gb_included: int | None
    compute_price_per_cu_hour: str | None
    storage_price_per_gb_month: str | None
    data_transfer_price_per_gb: str | None
    branch_price_per_hour: None = None
    pitr_price_per_gb_month: None = None
    max_compute_units: Annotated[int, Field(description="The most that a project takes.")] = 1000
    max_branches_per_project: Annotated[int, Field(description="The largest number: no limit.")] = INT32_MAX
    max_databases_per_branch: int | None = None
    max_endpoints_per_branch: int | None = None
    pitr_retention_hours: int | None = None
    scale_to_zero_delay_seconds: int | None = None
    monitoring_retention_days: int | None = None
    sla_uptime_percent: str | None = None
    stripe_price_id: Annotated[str | None, Field(description="Null: plans are on the invoice.")] = None
    support_level: str
    ip_allowlist_enabled: bool = False
    vpc_enabled: bool = False
    sso_enabled: bool = False
    audit_logs_enabled: bool = True
    monitoring_enabled: bool = True
    is_active: bool = True
    sort_order: int
    created_at: datetime = EPOCH
    updated_at: datetime = EPOCH
    quotas: dict[Quota, int]
    soft_quotas: Annotated[list[Quota], Field(description="Told of, and never a reason to refuse.")]
    included: Annotated[dict[Billed, int], Field(description="Of a month, before anything has a price.")]


class OrganizationPlan(BaseModel):
    id: UUID
    organization_id: UUID
    plan_id: UUID
    started_at: datetime
    ends_at: Annotated[datetime | None, Field(description="When a smaller plan follows; see `next_plan_id`.")]
    next_plan_id: UUID | None
    price_monthly: Annotated[str, Field(description="That of the day on which it was chosen.")]
    is_trial: bool = False
    trial_ends_at: datetime | None = None
    cancelled_at: datetime | None
    cancelled_by: UUID | None
    cancellation_reason: str | None = None
    stripe_subscription_id: str | None = None
    created_at: datetime
    updated_at: datetime


class PlanWithDetails(BaseModel):
    organization_plan: OrganizationPlan
    plan: PlanDetails


class ChangePlan(BaseModel, extra="forbid"):
    plan_id: UUID
    stripe_payment_method_id: Annotated[
        str | None,
        Field(
            max_length=255,
            description="Taken and not used: a plan is paid for with the invoice of the month.",
        ),
    ] = None


class QuotaState(BaseModel):
    quota: Quota
    used: int
    limit: Annotated[int | None, Field(description="Null: no limit.")]
    usage_percent: float | None
    is_hard: Annotated[bool, Field(description="Whether more than the limit is refused.")]
    is_over: bool


class QuotaUsage(BaseModel):
    """Projects and the like as they are now; calls, compute and storage of this month, UTC."""

    organization_id: UUID
    plan: PlanDetails
    quotas: list[QuotaState]
    current_projects: int
    current_branches: Annotated[int, Field(description="Besides the one that each project comes with.")]
    current_compute_hours: float
    current_serendb_compute_hours: float
    current_cloud_compute_hours: float = 0
    current_storage_gb: Annotated[float, Field(description="On average over the month until now.")]
    is_over_projects_quota: bool
    is_over_compute_quota: bool
    is_over_storage_quota: bool
    projects_usage_percent: float | None
    compute_hours_usage_percent: float | None
    storage_usage_percent: float | None
