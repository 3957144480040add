from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.postgres.names import KnownName, NewName


class NewDatabase(BaseModel, extra="forbid"):
    name: NewName
    owner_name: Annotated[
        KnownName | None, Field(description="A role of the branch; the one it came with if not set.")
    ] = None


class DatabaseChange(BaseModel, extra="forbid"):
    """What is not sent, or is null, stays as it is."""

    owner_name: KnownName | None = None


class Database(BaseModel):
    id: UUID
    name: str
    branch_id: UUID
    owner_name: str | None
    created_at: datetime
    updated_at: datetime


class DatabaseCreated(BaseModel):
    id: UUID
    name: str
    branch_id: UUID
    owner_role_id: UUID | None
    created_at: datetime


class DatabaseWithContext(BaseModel):
    id: UUID
    name: str
    owner_name: str | None
    project_id: UUID
    project_name: str
    branch_id: UUID
    branch_name: str
    is_default_branch: bool
    created_at: datetime
