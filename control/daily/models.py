from typing import Annotated

from pydantic import BaseModel, Field


class DailyClaimed(BaseModel):
    """Amounts are in millionths of a dollar."""

    success: bool
    amount_atomic: int
    amount_usd: str
    balance_atomic: Annotated[int, Field(description="What you can spend now, over all assets.")]
    balance_usd: str
    claims_remaining_this_month: int


class Eligibility(BaseModel):
    can_claim: bool
    claims_remaining_this_month: int
    claim_amount_usd: Annotated[str | None, Field(description="Null when nothing is offered.")] = None
    reason: Annotated[str | None, Field(description="Why not; null when you can.")] = None
    resets_in_seconds: Annotated[
        int | None, Field(description="Until the next day, UTC, when you have claimed today.")
    ] = None
