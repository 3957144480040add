from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from control.api.wording import shaped

Amount = Annotated[
    str,
    shaped(
        r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,36})?$",
        "a decimal number like 10.50",
        description='Decimal text in units of the asset, like "10.50".',
    ),
]


class Budget(BaseModel):
    asset_id: UUID
    asset_symbol: str
    network: Annotated[str, Field(description="CAIP-2.")]
    mode: Literal["live", "test"]
    budget_atomic: Annotated[int, Field(description="What can still be given away.")]
    outstanding_atomic: Annotated[int, Field(description="What was given and is neither spent nor expired.")]


class FillRequest(BaseModel, extra="forbid"):
    asset_id: UUID
    amount: Amount
    source: Annotated[
        Literal["bank", "fees"],
        Field(description="The platform's own money from outside, or what it earned on charges."),
    ]


class GrantRequest(BaseModel, extra="forbid"):
    asset_id: UUID
    amount: Amount
    description: Annotated[
        str, Field(min_length=1, max_length=200, description="What the organization's wallet says.")
    ] = "A gift from the operator"
    expires_at: Annotated[
        AwareDatetime | None, Field(description="In `FAREBOX_PROMOTIONS__EXPIRE_DAYS`, if not set.")
    ] = None


class Grant(BaseModel):
    """Amounts are in the asset's own atomic unit; what is left is `amount` less the other three."""

    id: UUID
    organization_id: UUID
    asset_id: UUID
    reason: Literal["signup", "payment_method", "daily", "referral", "gift"]
    description: str
    amount_atomic: int
    held_atomic: Annotated[int, Field(description="Set aside for calls that are running.")]
    spent_atomic: int
    expired_atomic: int
    expires_at: datetime
    created_at: datetime
