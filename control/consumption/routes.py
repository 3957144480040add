from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from control.api.fields import Day, OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.consumption import rules, store
from control.consumption.models import (
    Consumption,
    ConsumptionPeriod,
    OrganizationConsumption,
    ProjectConsumption,
)
from control.consumption.rules import Window

room = Room("consumption", "/organizations/{organization_id}/consumption")

Start = Annotated[Day | None, Field(description="From this day, UTC; the first of the month.")]
End = Annotated[Day | None, Field(description="To the end of this day, UTC; today.")]


@room.get(access="billing.read", id="get_organization_consumption")
async def of_organization(
    call: Call, organization_id: OrganizationId, *, start_date: Start = None, end_date: End = None
) -> Data[OrganizationConsumption]:
    """Show what an organization's projects used: compute, storage, and bytes written and sent."""
    asked = rules.window(start_date, end_date, datetime.now(UTC))
    periods, current = await found(call, organization_id, None, asked)
    whole = OrganizationConsumption(
        organization_id=organization_id,
        from_=asked.start,
        to=asked.end,
        periods=periods,
        current_month=current,
    )
    return Data(data=whole)


@room.get(at="/projects/{project_id}/consumption", access="projects.read", id="get_project_consumption")
async def of_project(
    call: Call, project_id: RootProjectId, *, start_date: Start = None, end_date: End = None
) -> Data[ProjectConsumption]:
    """Show what a project used: compute, storage, and bytes written and sent.

    Of a project that was moved, what it used in the organization that it is in now.
    """
    asked = rules.window(start_date, end_date, datetime.now(UTC))
    periods, current = await found(call, call.actor.organization_id, project_id, asked)
    whole = ProjectConsumption(
        project_id=project_id, from_=asked.start, to=asked.end, periods=periods, current_month=current
    )
    return Data(data=whole)


async def found(
    call: Call, organization_id: UUID, project_id: UUID | None, asked: Window
) -> tuple[list[ConsumptionPeriod], Consumption]:
    """By month, and this month whatever was asked for."""
    rows = await store.by_month(call.db, organization_id, project_id, asked.first, asked.last)
    periods = []
    for row in rows:
        used = rules.consumption(dict(row), asked.month(row["month"]))
        periods.append(ConsumptionPeriod(period_id=row["month"].isoformat()[:7], **used.model_dump()))
    this = rules.window(None, None, asked.now)
    rows = await store.by_month(call.db, organization_id, project_id, this.first, this.last)
    return periods, rules.consumption(dict(rows[0]) if rows else None, this)
