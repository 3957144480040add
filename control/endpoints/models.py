from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.postgres.describing import ComputeUnit, SuspendSeconds, Units
from control.postgres.endpoints import PoolerMode, Status


class EndpointPatch(BaseModel, extra="forbid"):
    """What is not sent, or is null, stays as it is."""

    compute_unit: ComputeUnit | None = None
    autoscaling_min: Units | None = None
    autoscaling_max: Units | None = None
    suspend_timeout_seconds: SuspendSeconds | None = None
    pooler_enabled: bool | None = None
    pooler_mode: PoolerMode | None = None


class Endpoint(BaseModel):
    id: UUID
    name: str
    branch_id: UUID
    timeline_id: UUID
    tenant_id: Annotated[UUID, Field(description="The project.")]
    endpoint_type: str
    primary_endpoint_id: UUID | None
    compute_unit: str
    autoscaling_min: int
    autoscaling_max: int
    suspend_timeout_seconds: int
    pooler_enabled: bool
    pooler_mode: str
    status: Status
    current_state: Annotated[
        str,
        Field(description="The same, or `stopped` when somebody stopped it: nobody who connects wakes it."),
    ]
    proxy_host: str | None
    connection_string: Annotated[str | None, Field(description="Without a password.")]
    connection_string_direct: str | None
    connection_string_pooled: str | None
    connection_count: Annotated[int, Field(description="Some seconds ago, over all that share the server.")]
    active_time_seconds: Annotated[float, Field(description="How long it has run, over all its life.")]
    last_active_at: datetime | None
    created_by: UUID
    created_at: datetime
    updated_at: datetime


class EndpointStatus(BaseModel):
    id: UUID
    status: Status
    compute_status: Annotated[str | None, Field(description="The same, or `stopped`.")]
    k8s_ready: Annotated[bool, Field(description="Whether it runs. There is no Kubernetes here.")]
    operation_id: Annotated[UUID | None, Field(description="What brings it there.")] = None
    why_active: Annotated[
        list[str] | None,
        Field(
            description="What keeps it awake, in sentences; empty while it sleeps or may. "
            "Null where nobody was asked or could say."
        ),
    ] = None
    why_asleep: Annotated[
        str | None,
        Field(
            description="What keeps it from being woken, such as a plan's quota that is used up. "
            "Null where nothing does, or nobody was asked."
        ),
    ] = None


class EndpointDeleted(BaseModel):
    id: UUID
    deleted: Literal[True] = True
    operation_id: UUID
