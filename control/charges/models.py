from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import Address

Amount = Annotated[int, Field(gt=0, le=2**63 - 1, description="In millionths of a dollar.")]
Reason = Annotated[
    str, Field(min_length=1, max_length=500, description="Both sides read it in their transactions.")
]
Status = Annotated[
    Literal["succeeded", "partially_refunded", "refunded"],
    Field(description="A penalty does not change it: see `slashed_atomic`."),
]


class NewCharge(BaseModel, extra="forbid"):
    agent_wallet: Address
    amount_atomic: Amount
    description: Reason
    idempotency_key: Annotated[
        UUID | None, Field(description="The same charge under the same key is made once, for ever.")
    ] = None


class RefundCharge(BaseModel, extra="forbid"):
    reason: Reason
    amount_atomic: Annotated[
        Amount | None, Field(description="All that is left of the charge, if it is not sent.")
    ] = None


class SlashCharge(BaseModel, extra="forbid"):
    slash_amount_atomic: Amount
    reason: Reason


class Charge(BaseModel):
    """All amounts are in millionths of a dollar, whatever asset it was paid in."""

    id: UUID
    status: Status
    amount_atomic: Annotated[int, Field(description="What was charged, in millionths of a dollar.")]
    agent_wallet: str
    refunded_atomic: int
    slashed_atomic: int
    fee_atomic: Annotated[int, Field(description="The platform's part of the charge, rounded down.")]
    asset_id: Annotated[UUID, Field(description="What it was paid in.")]
    description: str
    created_at: datetime
