from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import Day


class Transaction(BaseModel):
    id: UUID
    direction: Literal["credit", "debit"]
    source: Annotated[
        str,
        Field(description="Why: `usage`, `refund`, `fiat_purchase`, `daily_claim` and others."),
    ]
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


class Summary(BaseModel):
    """All assets together, in millionths of a dollar; what starts plus what changes is what ends."""

    period_start: Day | None
    period_end: Day | None
    starting_balance_atomic: int
    starting_balance_usd: str
    total_credits_atomic: int
    total_credits_usd: str
    total_debits_atomic: int
    total_debits_usd: str
    net_change_atomic: int
    net_change_usd: str
    ending_balance_atomic: int
    ending_balance_usd: str
    transaction_count: int
