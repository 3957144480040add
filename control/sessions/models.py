from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field


class Session(BaseModel):
    id: UUID
    user_agent: Annotated[str | None, Field(description="What it called itself when it signed in.")]
    ip_address: Annotated[str | None, Field(description="Where it signed in from.")]
    created_at: datetime
    last_active_at: Annotated[datetime, Field(description="To the minute.")]
    expires_at: Annotated[datetime, Field(description="Later, when it is used before.")]
    is_current: Annotated[bool, Field(description="Whether it is the one that asks.")]


class SessionsRevoked(BaseModel):
    message: str
    revoked_count: int
