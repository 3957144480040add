from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import Name
from control.api.permissions import OPERATE, Permission

Text = Annotated[str, Field(max_length=500)]
Permissions = Annotated[
    list[Permission], Field(min_length=1, description=f"By name. `{OPERATE}` is in no custom role.")
]


class PermissionInfo(BaseModel):
    id: UUID
    name: str
    resource_type: str
    action: str
    description: str
    created_at: Annotated[datetime, Field(description="When this installation was set up.")]


class NewRole(BaseModel, extra="forbid"):
    name: Name
    description: Text | None = None
    permissions: Permissions


class RoleChange(BaseModel, extra="forbid"):
    """What is not sent, or is null, stays as it is; an empty description takes it away."""

    name: Name | None = None
    description: Text | None = None
    permissions: Permissions | None = None


class Role(BaseModel):
    id: UUID
    name: str
    description: str | None
    permissions: list[str]
    is_built_in: bool
    created_at: Annotated[
        datetime, Field(description="Of a built-in role: when the installation was set up.")
    ]
