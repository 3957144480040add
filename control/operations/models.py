from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class Operation(BaseModel):
    id: UUID
    project_id: UUID
    branch_id: UUID | None
    endpoint_id: UUID | None
    action: str
    status: Literal["scheduling", "running", "finished", "failed", "cancelled"]
    failures_count: Annotated[int, Field(description="How often it was tried in vain.")]
    error: Annotated[str | None, Field(description="Why it failed, or waits.")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
