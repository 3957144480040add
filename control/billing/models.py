from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.v1 import Camel, CamelBody, Moment
from control.api.wire_ids import ProjectId
from control.api.wording import shaped

Cost = Annotated[str, Field(description="At the plan's price; what it includes is not taken off.")]

Page = Annotated[
    str,
    shaped(r"^https?://[^\s/?#\\@]+([/?#][^\s]*)?$", "an absolute http or https URL", max_length=2000),
]


class BillingJob(BaseModel):
    job: str
    failures_total: Annotated[int, Field(description="Months that it began and has not finished.")]


class BillingHealth(BaseModel):
    daily_aggregation_ok: Annotated[bool, Field(description="It ran lately, and its sums are the usage's.")]
    has_recent_daily_run: Annotated[bool, Field(description="It ran within a minute, as it always does.")]
    daily_aggregation_failures_total: Annotated[
        int, Field(description="Days of the last seven whose sums are not those of their calls.")
    ]
    last_daily_aggregation_run_utc: datetime | None
    jobs: list[BillingJob]


class UsageSummary(BaseModel):
    """What a project used in the days asked for."""

    organization_id: UUID
    project_id: UUID
    project_name: str
    project_region: str
    period_start: date
    period_end: date
    compute_hours_small: Annotated[float, Field(description="Of one unit or a part of it.")]
    compute_hours_medium: Annotated[float, Field(description="Of two units.")]
    compute_hours_large: Annotated[float, Field(description="Of three or four units.")]
    compute_hours_xlarge: Annotated[float, Field(description="Of more.")]
    storage_gb_avg: float
    pitr_gb_avg: Annotated[float, Field(description="0: history is not metered.")] = 0
    compute_cost_usd: Cost
    storage_cost_usd: Cost
    total_cost_usd: str


class UsageRecord(BaseModel):
    event_type: str
    quantity: float
    unit: str
    metadata: Annotated[str, Field(description="JSON.")]
    event_timestamp: str


class ComputeRecord(BaseModel):
    event_type: Annotated[str, Field(description="`started`, `resized` or `stopped`.")]
    event_time: str


class EndpointEvents(BaseModel):
    organization_id: str
    endpoint_id: str
    usage_events: Annotated[list[UsageRecord], Field(description="The newest 100.")]
    compute_usage_events: Annotated[list[ComputeRecord], Field(description="The newest 100.")]


class V1Subscription(Camel):
    tier: str
    status: Annotated[
        str,
        Field(
            description="`free`, `active`, `canceled` when a smaller plan follows; of one bought at Polar "
            "`trialing`, `active`, `past_due`, `paused` or `canceled`, as it stands there."
        ),
    ]
    current_period_end: Moment
    canceled_at: Annotated[Moment | None, Field(description="The plan may go on until `currentPeriodEnd`.")]
    polar_customer_id: str | None = None


class V1Plan(Camel):
    tier: str
    product_id: Annotated[
        UUID,
        Field(description="Polar's product where plans are bought there; else the plan's id at `/plans`."),
    ]


class V1Plans(Camel):
    plans: list[V1Plan]


class NewV1Checkout(CamelBody):
    tier: Annotated[str, Field(min_length=1, max_length=32, description="One of `GET /v1/billing/plans`.")]
    success_url: Annotated[Page, Field(alias="successURL", description="Where the buyer is sent afterwards.")]


class V1Checkout(Camel):
    url: Annotated[
        str, Field(description="Polar's page. The plan holds some seconds after it was paid there.")
    ]
    id: Annotated[str, Field(description="Polar's id of the page.")]


class NewV1Portal(CamelBody):
    return_url: Annotated[
        Page | None,
        Field(alias="returnURL", description="Where Polar's page leads back to; this installation."),
    ] = None


class V1Portal(Camel):
    url: str


class V1Invocations(Camel):
    count: int
    total_duration_ms: int


class V1Storage(Camel):
    bytes: int
    table_count: int
    sampled_at: Moment | None


class V1Connection(Camel):
    seconds: int


class V1Limits(Camel):
    invokes_per_month: int | None
    storage_bytes: int | None
    connection_seconds_per_month: int | None
    concurrent_subscriptions: int | None


class V1Usage(Camel):
    """What nothing is measured of yet is 0; a limit that the plan does not have is null."""

    project_id: ProjectId
    period_start: Moment
    period_end: Moment
    tier: str
    invocations: V1Invocations
    storage: V1Storage
    connection: V1Connection
    limits: V1Limits
