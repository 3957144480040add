from typing import Annotated, Literal

from pydantic import BaseModel, Field


class BonusClaimed(BaseModel):
    success: bool
    amount_atomic: Annotated[int, Field(description="In millionths of a dollar.")]
    amount_usd: str
    bonus_type: Literal["signup", "payment_method"]
