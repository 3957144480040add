from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field


class Organization(BaseModel):
    id: UUID
    name: str
    slug: str
    created_by: UUID
    is_personal: Annotated[bool, Field(description="Whether it came with its owner's account.")]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    stripe_customer_id: Annotated[str | None, Field(description="Null: cards are not taken yet.")] = None
