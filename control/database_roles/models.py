from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.postgres.names import NewName, Password


class NewRole(BaseModel, extra="forbid"):
    name: NewName


class NewPassword(BaseModel, extra="forbid"):
    password: Password


class Role(BaseModel):
    id: UUID
    name: str
    branch_id: UUID
    protected: Annotated[bool, Field(description="The one that the branch came with: it is not deleted.")]
    created_at: datetime


class RoleCreated(BaseModel):
    id: UUID
    name: str
    branch_id: UUID
    password: str
    created_at: datetime


class RolePassword(BaseModel):
    role_id: UUID
    password: str
