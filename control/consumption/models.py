from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Consumption(BaseModel):
    """What projects used besides calls. What nothing was measured of is 0."""

    active_time_seconds: Annotated[float, Field(description="That anything ran.")] = 0
    compute_time_seconds: Annotated[float, Field(description="Times the units that it ran with.")] = 0
    serendb_compute_time_seconds: Annotated[float, Field(description="All of it runs here.")] = 0
    cloud_compute_time_seconds: float = 0
    cloud_compute_cost_usd: float = 0
    synthetic_storage_size_bytes: Annotated[int, Field(description="On average over the time asked for.")] = 0
    written_data_bytes: int = 0
    data_transfer_bytes: int = 0


class ConsumptionPeriod(Consumption):
    period_id: Annotated[str, Field(description="A calendar month (UTC), as far as it was asked for.")]


class OrganizationConsumption(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)

    organization_id: UUID
    from_: Annotated[datetime, Field(serialization_alias="from")]
    to: Annotated[datetime, Field(description="The end of the last day, or now.")]
    periods: list[ConsumptionPeriod]
    current_month: Consumption


class ProjectConsumption(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)

    project_id: UUID
    from_: Annotated[datetime, Field(serialization_alias="from")]
    to: Annotated[datetime, Field(description="The end of the last day, or now.")]
    periods: list[ConsumptionPeriod]
    current_month: Consumption
