"""What the platform's operator decides about a publisher."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field


class Standing(BaseModel, extra="forbid"):
    """What is not sent, or is null, stays as it is."""

    is_verified: bool | None = None
    is_first_party: Annotated[
        bool | None,
        Field(description="Whether it charges wallets without a call, by `POST /billing/…/charges`."),
    ] = None
    is_suspended: Annotated[
        bool | None, Field(description="A suspended publisher is in no list, and calls to it are 404.")
    ] = None


class OperatedPublisher(BaseModel):
    id: UUID
    slug: str
    organization_id: UUID
    is_active: bool
    is_verified: bool
    is_first_party: bool
    suspended_at: Annotated[datetime | None, Field(description="Null while it is not suspended.")]
