from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.permissions import V1Role
from control.api.v1 import Camel, CamelBody, Moment
from control.api.wire_ids import PersonId


class Member(BaseModel):
    id: Annotated[UUID, Field(description="The same as `user_id`: nobody is a member twice.")]
    organization_id: UUID
    user_id: UUID
    email: Annotated[str, Field(description="Empty for an agent that gave none.")]
    name: str | None
    role: Annotated[str, Field(description="`owner`, `admin`, `editor`, `viewer`, or a custom role's name.")]
    created_at: datetime


class RoleAssignment(BaseModel, extra="forbid"):
    """Exactly one of the two."""

    role_id: UUID | None = None
    role_name: Annotated[str | None, Field(max_length=100)] = None


class V1Member(Camel):
    user_id: PersonId
    email: str
    name: str | None
    role: V1Role
    created_at: Moment


class V1Members(Camel):
    members: list[V1Member]


class V1MemberShown(Camel):
    member: V1Member


class V1RoleChange(CamelBody):
    role: V1Role


class V1ProjectRoleChange(CamelBody):
    role: Literal["viewer", "developer", "admin"]


class V1RoleChanged(Camel):
    ok: Literal[True] = True
    role: V1Role


class V1Removed(Camel):
    removed: PersonId
