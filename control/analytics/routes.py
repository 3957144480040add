from typing import Annotated
from uuid import UUID

from pydantic import Field

from control.analytics import rules, store
from control.analytics.models import Revenue, RevenueDay, RouteShare, TopAgent
from control.analytics.store import DayTotals, Sales
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Limit
from gateway.kit.money import usd
from gateway.kit.problem import NotFound

room = Room("analytics", "/organizations/{organization_id}/publishers/{publisher_id}/analytics")

Days = Annotated[int, Field(ge=1, le=366, description="Until today, UTC.")]


@room.get("/revenue", access="analytics.read", fails=[NotFound], id="get_revenue_metrics")
async def revenue(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, days: Days = 30
) -> Revenue:
    """Show what a publisher took in, who called it and how often, and how that changed.

    In the money of your key: live or test. Calls are counted within seconds.
    """
    sales, period = await sales_of(call, organization_id, publisher_id), rules.until_today(days)
    now = await store.totals(call.db, sales, period)
    before = await store.totals(call.db, sales, period.before)
    offers = await store.offers(call.db, sales, period)
    refunded = await store.refunded(call.db, sales, period)
    charges, charged = await store.direct_charges(call.db, sales, period)
    return Revenue(
        total_revenue_atomic=now.cost,
        total_revenue=usd(now.cost),
        active_agents=now.agents,
        total_queries=now.calls,
        avg_query_cost_atomic=now.cost // now.calls if now.calls else 0,
        revenue_change_pct=rules.change(now.cost, before.cost),
        agents_change_pct=rules.change(now.agents, before.agents),
        queries_change_pct=rules.change(now.calls, before.calls),
        period_start=period.start,
        period_end=period.end,
        charged_queries=now.charged,
        direct_charges=charges,
        direct_charges_atomic=charged,
        refunded_atomic=refunded,
        failed_queries=now.failed,
        failed_pct=rules.percent(now.failed, now.calls),
        offers=offers,
        conversion_pct=min(rules.percent(now.paid_on_chain, offers), 100.0) if offers else None,
    )


@room.get("/revenue-by-day", access="analytics.read", fails=[NotFound], id="get_revenue_by_day")
async def revenue_by_day(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, days: Days = 30
) -> list[RevenueDay]:
    """Show what a publisher took in on each day, oldest first, days without a call included."""
    sales, period = await sales_of(call, organization_id, publisher_id), rules.until_today(days)
    found = await store.by_day(call.db, sales, period)
    by_day = [(day, found.get(day, DayTotals())) for day in period.days]
    return [
        RevenueDay(
            date=day,
            revenue_atomic=one.cost,
            revenue=usd(one.cost),
            query_count=one.calls,
            unique_agents=one.agents,
        )
        for day, one in by_day
    ]


@room.get("/top-agents", access="analytics.read", fails=[NotFound], id="get_top_agents")
async def top_agents(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, limit: Limit = 10
) -> list[TopAgent]:
    """Show who spent most on a publisher since it was published."""
    sales = await sales_of(call, organization_id, publisher_id)
    return [
        TopAgent(
            rank=rank,
            agent_wallet=row["wallet"],
            total_spent_atomic=row["spent"],
            total_spent=usd(row["spent"]),
            balance_atomic=row["balance"],
            query_count=row["calls"],
            last_active=row["last_at"],
            organization_id=row["organization_id"],
        )
        for rank, row in enumerate(await store.top_agents(call.db, sales, limit), 1)
    ]


@room.get("/routes", access="analytics.read", fails=[NotFound], id="get_revenue_by_route")
async def routes(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, days: Days = 30, limit: Limit = 20
) -> list[RouteShare]:
    """Show what each route took in and how often it failed, the greatest first.

    Charges without a call are on no route: `…/analytics/revenue` has them.
    """
    sales, period = await sales_of(call, organization_id, publisher_id), rules.until_today(days)
    return [
        RouteShare(
            method=row["method"],
            route=row["route"],
            query_count=row["calls"],
            charged_queries=row["charged"],
            failed_queries=row["failed"],
            revenue_atomic=row["revenue"],
            revenue=usd(row["revenue"]),
        )
        for row in await store.routes(call.db, sales, period, limit)
    ]


async def sales_of(call: Call, organization_id: UUID, publisher_id: UUID) -> Sales:
    if not await store.is_seller(call.db, organization_id, publisher_id):
        raise NotFound(f"no publisher {publisher_id}")
    return Sales(publisher_id, call.actor.mode)
