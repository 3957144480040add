from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import Name
from control.api.wording import shaped

Named = Annotated[
    str,
    shaped(r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", "letters, digits and . _ : / -", max_length=128),
]


class NewVpcEndpoint(BaseModel, extra="forbid"):
    region: Named
    endpoint_id: Annotated[Named, Field(description="As your cloud calls it.")]
    label: Name | None = None


class VpcEndpoint(BaseModel):
    id: UUID
    organization_id: UUID
    region: str
    endpoint_id: str
    label: str | None
    state: Annotated[str, Field(description="`new`: recorded, and joined to no network.")]
    created_at: datetime
    updated_at: datetime


class NewAssignment(BaseModel, extra="forbid"):
    vpc_endpoint_id: UUID
    label: Name | None = None


class Assignment(BaseModel):
    id: UUID
    project_id: UUID
    organization_vpc_endpoint_id: UUID
    endpoint_id: str
    endpoint_label: str | None
    region: str
    label: str | None
    created_at: datetime
    updated_at: datetime
