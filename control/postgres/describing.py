"""Endpoints as they are asked for and shown, in two rooms."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from asyncpg import Record
from pydantic import BaseModel, Field, ValidationError

from control.api.fields import Name
from control.api.ports import Ports
from control.api.wording import shaped
from control.computes.provider import ComputeUnavailable, OutsideWindow, TimelineUnknown, Unsupported
from control.computes.units import UNITS_MAX, UNITS_MIN
from control.postgres import strings
from control.postgres.endpoints import Kind, NewEndpoint, PoolerMode
from control.postgres.refusals import EndpointTaken
from control.postgres.strings import Reach
from gateway.kit.problem import FieldProblem, Invalid, Refusal, Unavailable, invalid
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

# Whatever asks the provider within a request.
ASKED: tuple[type[Refusal], ...] = (
    ComputeUnavailable, OutsideWindow, TimelineUnknown, Unavailable, Unsupported,
)  # fmt: skip

WARNING = "autoscaling is stored and does nothing: this installation's computes keep the size of compute_unit"

ComputeUnit = Annotated[
    str,
    shaped(
        r"^(0|[1-9][0-9]?)(\.(25|50?|75|00?))?$",
        "a number of compute units in steps of 0.25",
        description="In steps of 0.25, from 0.25 to 16.",
    ),
]
Units = Annotated[int, Field(ge=1, le=1000)]
SuspendSeconds = Annotated[
    int, Field(ge=0, le=604_800, description="How long nobody uses it until it sleeps; 0 for never.")
]


class EndpointSettings(BaseModel, extra="forbid"):
    name: Name | None = None
    compute_unit: ComputeUnit = "0.25"
    autoscaling_min: Units = 1
    autoscaling_max: Units = 1
    suspend_timeout_seconds: SuspendSeconds = 300
    pooler_enabled: bool = True
    pooler_mode: PoolerMode = "transaction"


class NewEndpointBody(EndpointSettings):
    endpoint_type: Annotated[
        Kind, Field(description="A branch has one that writes, and any number of others.")
    ] = "read_write"


class EndpointMade(BaseModel):
    id: UUID
    name: str
    branch_id: UUID
    endpoint_type: str
    compute_unit: str
    status: str
    primary_endpoint_id: UUID | None
    pg_address: Annotated[str | None, Field(description="Host and port.")]
    internal_http_address: Annotated[None, Field(description="There is none.")] = None
    connection_string: Annotated[str | None, Field(description="Without a password.")]
    connection_string_direct: str | None
    connection_string_pooled: str | None
    warnings: list[str] | None = None
    created_at: datetime


def wanted(endpoint_type: Kind | None, settings: Mapping[str, Any] | None) -> NewEndpoint:
    """As a branch is asked for with them; ``settings`` are whatever was sent."""
    try:
        body = NewEndpointBody.model_validate(
            {**(settings or {}), "endpoint_type": endpoint_type or "read_write"}, strict=True
        )
    except ValidationError as error:
        raise Invalid(
            [
                FieldProblem(
                    pointer="/".join(["body/endpoints/settings", *map(str, one["loc"])]), detail=one["msg"]
                )
                for one in error.errors()
            ]
        ) from None
    return new(body)


def new(body: NewEndpointBody) -> NewEndpoint:
    require_order(body.autoscaling_min, body.autoscaling_max)
    return NewEndpoint(**{**body.model_dump(), "name": body.name or ""})


def require_order(smallest: int, largest: int) -> None:
    if smallest > largest:
        raise invalid("body/autoscaling_min", "is more than autoscaling_max")


def require_one_writer(several: Sequence[NewEndpoint]) -> None:
    if sum(one.endpoint_type == "read_write" for one in several) > 1:
        raise EndpointTaken("a branch has one endpoint that writes; the others are read_only")


async def require_size(db: Db, project_id: UUID, several: Sequence[NewEndpoint]) -> None:
    """Within what the project allows, and what there is."""
    row = await db.fetchrow(SQL.units, project_id)
    for one in several:
        units = Decimal(one.compute_unit)
        if not UNITS_MIN <= units <= UNITS_MAX:
            raise invalid("body/compute_unit", f"is not from {UNITS_MIN} to {UNITS_MAX}")
        if row is not None and units > row["compute_unit_max"]:
            raise invalid("body/compute_unit", f"is more than the project's {row['compute_unit_max']}")


def reach(ports: Ports) -> Reach:
    chosen = ports.settings.pgproxy
    return strings.reach_of(ports.origin, chosen.host, chosen.port, chosen.domain)


def as_made(row: Record, at: Reach) -> EndpointMade:
    label = row["label"]
    return EndpointMade(
        id=row["id"],
        name=row["name"],
        branch_id=row["branch_id"],
        endpoint_type=row["endpoint_type"],
        compute_unit=row["compute_unit"],
        status=row["status"],
        primary_endpoint_id=row["primary_endpoint_id"],
        pg_address=f"{at.host_of(label)}:{at.port}",
        connection_string=at.uri(label, is_pooled=row["pooler_enabled"]),
        connection_string_direct=at.uri(label),
        connection_string_pooled=at.uri(label, is_pooled=True) if row["pooler_enabled"] else None,
        warnings=[WARNING] if row["autoscaling_min"] != row["autoscaling_max"] else None,
        created_at=row["created_at"],
    )
