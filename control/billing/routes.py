from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from control.api.fields import Day, OrganizationId
from control.api.operation import Call, Query, Room
from control.api.paging import Data
from control.api.permissions import OPERATE
from control.api.wire_ids import ProjectId
from control.billing import rules, store, v1
from control.billing.models import (
    BillingHealth,
    BillingJob,
    EndpointEvents,
    UsageSummary,
    V1Connection,
    V1Invocations,
    V1Limits,
    V1Storage,
    V1Usage,
)
from control.quotas import headroom
from gateway.kit.problem import NotFound

room = Room("billing", "/billing")

RECENT_SECONDS = 60

Start = Annotated[Day | None, Field(description="From this day, UTC; the first of the month.")]
End = Annotated[Day | None, Field(description="To the end of this day, UTC; today.")]


@room.get("/health", access=OPERATE, id="get_billing_health")
async def health(call: Call) -> Data[BillingHealth]:
    """Show whether usage is added up and invoices are made as they should be.

    The sums of the last week are compared with the calls themselves.
    """
    row, wrong = await store.health(call.db), await store.count_wrong_days(call.db)
    at: datetime | None = row["rolled_at"]
    is_recent = at is not None and (datetime.now(UTC) - at).total_seconds() < RECENT_SECONDS
    jobs = [
        BillingJob(job="daily_aggregation", failures_total=wrong),
        BillingJob(job="monthly_invoices", failures_total=row["unfinished"]),
    ]
    return Data(
        data=BillingHealth(
            daily_aggregation_ok=is_recent and not wrong,
            has_recent_daily_run=is_recent,
            daily_aggregation_failures_total=wrong,
            last_daily_aggregation_run_utc=at,
            jobs=jobs,
        )
    )


@room.get("/usage/{organization_id}", access="billing.read", id="get_usage_summary")
async def usage(
    call: Call, organization_id: OrganizationId, *, start_date: Start = None, end_date: End = None
) -> Data[list[UsageSummary]]:
    """Show what each project of an organization used: hours of computes by their size, and storage.

    The first 1000 projects, oldest first; deleted ones as long as they used something.
    """
    first, last = rules.days(start_date, end_date, datetime.now(UTC).date())
    plan = await headroom.plan_of(call.db, call.ports.settings.plans, organization_id)
    rows = await store.usage(call.db, organization_id, first, last)
    return Data(data=[rules.summary(dict(row), organization_id, plan, first, last) for row in rows])


@room.get(
    at="/organizations/{organization_id}/billing/endpoints/{endpoint_id}/events",
    access="billing.read",
    fails=[NotFound],
    id="get_endpoint_billing_events",
)
async def endpoint_events(
    call: Call, organization_id: OrganizationId, endpoint_id: UUID
) -> Data[EndpointEvents]:
    """Show the newest readings of an endpoint, and when it started and stopped."""
    readings = await store.readings(call.db, endpoint_id, organization_id)
    transitions = await store.transitions(call.db, endpoint_id, organization_id)
    if not readings and not transitions:
        raise NotFound(f"no endpoint {endpoint_id} that was metered")
    return Data(data=rules.endpoint_events(organization_id, endpoint_id, readings, transitions))


@room.get(at="/v1/projects/{project_id}/usage", access="projects.read", id="v1_get_usage")
async def project_usage(
    call: Call,
    project_id: ProjectId,
    *,
    start: Annotated[AwareDatetime | None, Query("from")] = None,
    until: AwareDatetime | None = None,
) -> V1Usage:
    """Show what a project used in this month (UTC), or from one time until another.

    Storage is the average over the days that lie in it.
    """
    now = datetime.now(UTC)
    begin, end = rules.period(start, until, now)
    plan = await headroom.plan_of(call.db, call.ports.settings.plans, call.actor.organization_id)
    stored = await store.stored(call.db, project_id, begin, end)
    hours = max(1, int((min(end, now) - begin).total_seconds() // rules.HOUR_SECONDS))
    return V1Usage(
        project_id=project_id,
        period_start=begin,
        period_end=end,
        tier=plan.id,
        invocations=V1Invocations(count=0, total_duration_ms=0),
        storage=V1Storage(
            bytes=stored["byte_hours"] // hours, table_count=0, sampled_at=stored["sampled_at"]
        ),
        connection=V1Connection(seconds=0),
        limits=V1Limits(
            invokes_per_month=plan.quotas.get("calls_per_month"),
            storage_bytes=plan.quotas.get("storage_bytes"),
            connection_seconds_per_month=None,
            concurrent_subscriptions=None,
        ),
    )


v1.register(room)
