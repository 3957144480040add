from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

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


def plain_date(value: object) -> object:
    """A date and nothing else: a number would be taken for seconds."""
    if isinstance(value, str) and (len(value) != 10 or value[4] + value[7] != "--"):
        raise ValueError("is not a date like 2026-01-31")
    return value


Day = Annotated[date, BeforeValidator(plain_date)]


class AssetBalance(BaseModel):
    asset_id: UUID
    symbol: str
    network: Annotated[str, Field(description="CAIP-2.")]
    decimals: int
    funded_atomic: Annotated[int, Field(description="Deposited, what is held included.")]
    promotional_atomic: int
    held_atomic: Annotated[int, Field(description="Set aside for calls that are running.")]
    available_atomic: Annotated[int, Field(description="What a call can spend now.")]


class SourceBalance(BaseModel):
    source: Annotated[str, Field(description="Where it came from: `onchain_deposit` or `admin_grant`.")]
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
    total_purchases_cents: Annotated[
        int, Field(description="Bought by card. On-chain deposits are none.")
    ] = 0
    total_purchases_usd: str = "0"
    has_recovery: bool = False
    recovery_warning: str | None = None
    unread_received_transfers: list[ReceivedTransfer] = []


class Transaction(BaseModel):
    id: UUID
    direction: Literal["credit", "debit"]
    source: Annotated[str, Field(description="`usage`, `onchain_deposit` or `payout`.")]
    amount_atomic: Annotated[int, Field(description="In the asset's own atomic unit.")]
    amount_usd: str
    asset_id: UUID
    asset_symbol: str
    description: str | None
    publisher_id: UUID | None = None
    publisher_name: str | None = None
    call_count: Annotated[int, Field(description="How many calls this line stands for.")]
    created_at: Annotated[datetime, Field(description="Of the last of them.")]
    alert: str | None = None
    prompt: str | None = None
    balance_after_atomic: int | None = None
    balance_after_usd: str | None = None
    remaining_atomic: int | None = None
    remaining_usd: str | None = None
    expires_at: datetime | None = None
    paid_amount_usd: str | None = None
    bonus_amount_usd: str | None = None


class History(BaseModel):
    transactions: list[Transaction]
    total: Annotated[int, Field(description="Exact, or at least this many; see `total_is_exact`.")]
    total_is_exact: bool
    limit: int
    offset: int
    next_cursor: Annotated[str | None, Field(description="Give it as `cursor` to go on.")] = None


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
