from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

Status = Literal["success", "denied", "failure"]
Category = Literal["create", "update", "delete", "read"]


class AuditLog(BaseModel):
    id: UUID
    created_at: datetime
    organization_id: UUID | None
    actor_id: Annotated[UUID | None, Field(description="The user; null where nobody was known.")]
    actor_type: Literal["user", "api_key", "anonymous"]
    action: Annotated[str, Field(description="The operation's id, as in this document.")]
    action_category: Category
    resource_type: Annotated[str, Field(description="The operation's tag.")]
    resource_id: UUID | None
    status: Annotated[
        Status,
        Field(
            description="`denied`: a permission was lacking and nothing changed. `failure`: it is not known "
            "whether something outside did."
        ),
    ]
    error_message: str | None
    ip_address: str | None
    user_agent: str | None
    request_id: Annotated[str | None, Field(description="The `X-Request-Id` of the answer.")]
    metadata: Annotated[
        dict[str, Any],
        Field(
            description="Method, path, permission, key, and the names of the fields that were sent; of the "
            "studio the table, or the beginning of the statement."
        ),
    ]


class AuditLogList(BaseModel):
    data: list[AuditLog]
    total: int
    limit: int
    offset: int
