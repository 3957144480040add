from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.postgres.names import KnownName, NewName, Visible

Table = Annotated[Visible, Field(max_length=200)]
Tables = Annotated[
    list[Table],
    Field(
        max_length=1000,
        description="As in SQL, `orders` or `sales.orders`. Empty for all tables, also those to come.",
    ),
]


class NewPublication(BaseModel, extra="forbid"):
    name: NewName
    database: Annotated[
        KnownName | None, Field(description="The database to publish from; the branch's first if not set.")
    ] = None
    tables: Tables | None = None
    publish_insert: bool = True
    publish_update: bool = True
    publish_delete: bool = True
    publish_truncate: bool = True


class PublicationChange(BaseModel, extra="forbid"):
    """What is not sent, or is null, stays as it is."""

    tables: Tables | None = None
    publish_insert: bool | None = None
    publish_update: bool | None = None
    publish_delete: bool | None = None
    publish_truncate: bool | None = None


class Publication(BaseModel):
    id: UUID
    project_id: UUID
    branch_id: UUID
    database: str
    name: str
    tables: Annotated[list[str], Field(description="Empty for all tables.")]
    publish_insert: bool
    publish_update: bool
    publish_delete: bool
    publish_truncate: bool
    created_at: datetime
    updated_at: datetime
