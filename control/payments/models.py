from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field


class SupportedAsset(BaseModel):
    asset: Annotated[str, Field(description="The token's contract.")]
    symbol: str
    name: Annotated[str, Field(description="Of its EIP-712 domain.")]
    version: Annotated[str, Field(description="Of its EIP-712 domain.")]
    decimals: int


class SupportedExtra(BaseModel):
    assets: list[SupportedAsset]


class SupportedKind(BaseModel):
    x402Version: Literal[1, 2]  # noqa: N815
    scheme: Literal["exact"] = "exact"
    network: Annotated[str, Field(description="CAIP-2 in version 2, a name in version 1.")]
    extra: SupportedExtra


class Supported(BaseModel):
    kinds: list[SupportedKind]
    extensions: list[str] = []
    signers: Annotated[
        dict[str, list[str]], Field(description="The addresses that submit settlements, by kind of network.")
    ]


class Resources(BaseModel):
    """What can be bought here by x402."""

    version: Literal[1] = 1
    resources: Annotated[
        list[str], Field(description="URLs that answer 402 with an offer, GET ones and others.")
    ]
    catalog: Annotated[
        str, Field(description="Where every publisher is listed with its endpoints and prices.")
    ]


class PaymentIntentCreated(BaseModel):
    payment_intent_id: Annotated[str, Field(description="Stripe's, pi_…")]
    client_secret: Annotated[str, Field(description="For Stripe's own script in the browser.")]
    amount_cents: int
    amount_usd: str
    currency: str


PaymentStatus: TypeAlias = Literal[
    "created", "open", "paid", "failed", "expired", "canceled", "credited", "reversed"
]


class PaymentRecord(BaseModel):
    id: str
    source: Annotated[str, Field(description="`stripe`, `polar`, `wallet` or `bank`.")]
    stripe_payment_intent_id: Annotated[
        str, Field(description="Empty until Stripe was asked; otherwise than by card, the reference.")
    ]
    stripe_charge_id: str | None = None
    amount_usd: str
    currency: str
    status: Annotated[
        PaymentStatus,
        Field(
            description="`credited` was paid after the invoice was, and is in the wallet instead; `reversed` "
            "was taken back by the payer's bank, so that the invoice is to be paid again."
        ),
    ]
    attempted_at: datetime
    succeeded_at: datetime | None = None
    failed_at: datetime | None = None
    failure_code: str | None = None
    failure_message: str | None = None


class PaymentHistory(BaseModel):
    payments: list[PaymentRecord]
