from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class SettlementReceipt(BaseModel):
    receipt_id: UUID
    status: Literal["pending", "paid", "expired", "cancelled", "refunded"]
    asset: Annotated[str, Field(description="Its symbol.")]
    charged_micros: Annotated[
        int | None,
        Field(description="In millionths of the asset; null while it is pending, and not less for a refund."),
    ]
    updated_at: datetime
