from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.wording import shaped

Decimal = Annotated[
    str,
    shaped(
        r"^(0|[1-9][0-9]{0,59})(\.[0-9]{1,36})?$",
        'an amount like "10.50"',
        max_length=128,
        description='Decimal text in units of the asset, like "10.50".',
    ),
]


class AssetBalance(BaseModel):
    asset_id: UUID
    symbol: str
    network: Annotated[str, Field(description="CAIP-2.")]
    decimals: int
    funded_atomic: Annotated[int, Field(description="Deposited, what is held included.")]
    promotional_atomic: int
    held_atomic: Annotated[
        int, Field(description="Set aside for calls that are running, and of busy callers for those to come.")
    ]
    available_atomic: Annotated[int, Field(description="What a call can spend now.")]


class SourceBalance(BaseModel):
    source: Annotated[
        str, Field(description="`onchain_deposit`, `deposit` where cards paid too, or why it was given.")
    ]
    kind: Literal["funded", "promotional"]
    balance_atomic: int
    balance_usd: str


class ReceivedTransfer(BaseModel):
    notification_id: UUID
    transfer_id: UUID
    amount_atomic: int
    amount_usd: str
    sender_display_name: str
    sender_email: str
    received_at: datetime


class Balance(BaseModel):
    """What can be spent now: posted less held.

    Totals over assets count in millionths of a dollar, rounded down.
    """

    wallet_address: Annotated[
        str, Field(description="An address proved by a payment; empty before the first.")
    ]
    balance_atomic: int
    balance_usd: str
    funded_balance_atomic: int
    funded_balance_usd: str
    promotional_balance_atomic: int
    promotional_balance_usd: str
    by_source: list[SourceBalance]
    assets: list[AssetBalance]
    total_purchases_cents: Annotated[int, Field(description="Bought by card. On-chain deposits are none.")]
    total_purchases_usd: str
    has_recovery: bool
    recovery_warning: str | None
    unread_received_transfers: list[ReceivedTransfer] = []


class AgentBalance(BaseModel):
    serenbucks_atomic: Annotated[int, Field(description="Prepaid here, in millionths of a dollar.")]
    onchain_atomic: Annotated[int | None, Field(description="Null: the chain is not asked.")] = None
    total_available_atomic: int


class OnchainDepositRequest(BaseModel, extra="forbid"):
    amount: Decimal
    publisher_id: Annotated[UUID | None, Field(description="Its primary asset is the default asset.")] = None
    asset_id: UUID | None = None


class OnchainDepositResponse(BaseModel):
    message: str
    deposited_amount: Decimal
    balance_amount: Decimal
    asset_symbol: str
    publisher_id: UUID | None
    agent_wallet: str
    tx_hash: str | None = None
    api_key: Annotated[
        str | None,
        Field(description="The key of the organization that this deposit made, shown this once."),
    ] = None
