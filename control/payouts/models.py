from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.assets import AssetInfo, Number
from control.api.fields import Address

Words = Annotated[str, Field(min_length=1, max_length=500)]
Amount = Annotated[int, Field(gt=0, le=2**63 - 1)]
Status = Annotated[
    Literal["queued", "processing", "completed", "failed", "cancelled"],
    Field(
        description="`queued`: asked for, and nothing is signed. `processing`: signed, and not seen at the "
        "depth that counts. `completed`: it arrived. `failed`: certainly not sent. `cancelled`: it came "
        "back. After the last two the amount is among the earnings again."
    ),
]


class NewPayout(BaseModel, extra="forbid"):
    destination_wallet: Address
    amount_atomic: Annotated[Amount, Field(description="In millionths of a dollar.")]
    description: Words
    idempotency_key: Annotated[
        UUID | None, Field(description="The same payout under the same key is made once, for ever.")
    ] = None


class BilledPayout(BaseModel):
    id: UUID
    status: Status
    amount_atomic: Annotated[int, Field(description="In millionths of a dollar.")]
    destination_wallet: str
    tx_hash: Annotated[str | None, Field(description="Stored before it is sent; a replacement has another.")]
    error_message: str | None
    reference: Annotated[str | None, Field(description="What the operator calls a transfer made by hand.")]


class NewPublisherPayout(BaseModel, extra="forbid"):
    asset_id: UUID
    amount_atomic: Annotated[
        int | None,
        Field(gt=0, le=10**70, description="In the asset's atomic units; all that is available if not sent."),
    ] = None
    destination_wallet: Annotated[
        Address | None, Field(description="The publisher's own wallet if not sent.")
    ] = None


class PublisherPayout(BaseModel):
    id: UUID
    publisher_id: UUID
    asset: AssetInfo
    amount: Number
    amount_atomic: Annotated[int, Field(description="In the asset's atomic units.")]
    destination_wallet: str
    status: Status
    tx_hash: str | None
    error_message: str | None
    reference: Annotated[str | None, Field(description="What the operator calls a transfer made by hand.")]
    requested_at: datetime


class OperatedPayout(PublisherPayout):
    """What the operator sees of it besides."""

    organization_id: UUID
    is_manual: Annotated[bool, Field(description="Waits for the operator; no key here sends it.")]
    doubt: Annotated[
        str | None, Field(description="Why nobody but a person can say what became of it, if so.")
    ]


class Decision(BaseModel, extra="forbid"):
    """What the operator did, or found out."""

    status: Annotated[
        Literal["sent", "failed", "returned"],
        Field(description="`returned` is for one that was sent and came back."),
    ]
    reference: Annotated[Words | None, Field(description="Of the transfer; needed for `sent`.")] = None
    reason: Annotated[Words | None, Field(description="Needed for `failed` and `returned`.")] = None
    paid_from: Annotated[
        Literal["chain", "bank"], Field(description="What a payout that was sent was paid from.")
    ] = "bank"
