from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class DepositRequest(BaseModel, extra="forbid"):
    amount_cents: Annotated[
        int,
        Field(
            ge=1,
            le=99_999_999,
            description="In US cents; from 500 to 30000, unless the operator has set other limits.",
        ),
    ]
    referral_code: Annotated[
        str | None, Field(max_length=64, description="Who sent you; kept with the deposit.")
    ] = None
    provider: Annotated[
        Literal["stripe", "polar"] | None,
        Field(description="Whose page you pay on. Not set: whichever this installation has."),
    ] = None


class DepositResponse(BaseModel):
    deposit_id: UUID
    checkout_url: Annotated[str, Field(description="Open it in a browser to pay.")]
    asset_id: Annotated[UUID, Field(description="What it is credited in, a dollar for a dollar.")]
    amount_atomic: Annotated[int, Field(description="In millionths of a dollar.")]
    amount_usd: str
    bonus_atomic: int
    bonus_usd: str
    total_atomic: Annotated[int, Field(description="In millionths of a dollar.")]
    total_usd: str


class DepositStatus(BaseModel):
    deposit_id: UUID
    status: Annotated[
        Literal["created", "open", "paid", "failed", "expired", "canceled"],
        Field(description="`paid` once the money is in the wallet."),
    ]
    amount_cents: int
    checkout_url: str | None
