from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

Percent = Annotated[int, Field(description="Rounded; 100 where there was nothing before.")]


class Revenue(BaseModel):
    """What callers paid, the platform's fee included; atomic amounts are millionths of a dollar."""

    total_revenue_atomic: int
    total_revenue: str
    active_agents: Annotated[int, Field(description="Organizations and wallets that called.")]
    total_queries: int
    avg_query_cost_atomic: Annotated[int, Field(description="Over all calls, rounded down.")]
    revenue_change_pct: Annotated[Percent, Field(description="Against the as many days before.")]
    agents_change_pct: Percent
    queries_change_pct: Percent
    period_start: date
    period_end: Annotated[date, Field(description="Today, which is counted so far.")]
    charged_queries: Annotated[int, Field(description="Calls that cost something.")]
    direct_charges: Annotated[int, Field(description="Of these, charges without a call; on no route.")]
    direct_charges_atomic: Annotated[int, Field(description="What they came to, of the revenue.")]
    refunded_atomic: Annotated[int, Field(description="Given back in the period, of whichever charges.")]
    failed_queries: Annotated[int, Field(description="Calls that the upstream or a settlement failed.")]
    failed_pct: Annotated[float, Field(description="Of all calls.")]
    offers: Annotated[int, Field(description="How often a caller was answered 402 with a price.")]
    conversion_pct: Annotated[
        float | None, Field(description="Calls paid by x402 for each hundred offers; null without any.")
    ]


class RevenueDay(BaseModel):
    date: date
    revenue_atomic: int
    revenue: str
    query_count: int
    unique_agents: int


class TopAgent(BaseModel):
    rank: Annotated[int, Field(description="1 spent most.")]
    agent_wallet: Annotated[str, Field(description="Its address; of an organization without one, its id.")]
    total_spent_atomic: int
    total_spent: str
    balance_atomic: Annotated[int, Field(description="What it could spend here now.")]
    query_count: int
    last_active: datetime | None
    organization_id: UUID | None


class RouteShare(BaseModel):
    method: str
    route: Annotated[str, Field(description="A path without ids; `other` is beyond 500 routes a day.")]
    query_count: int
    charged_queries: int
    failed_queries: int
    revenue_atomic: int
    revenue: str
