"""How a wallet of several assets is added up, and where a page of its history ends."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from control.wallet.models import AssetBalance, Balance, SourceBalance
from gateway.kit import money

# Totals count in millionths, whatever the assets count in.
DECIMALS = 6


def millionths(amount: int, decimals: int) -> int:
    """Rounded down, so that nobody is told of money that is not there."""
    if decimals <= DECIMALS:
        return int(amount * 10 ** (DECIMALS - decimals))
    return int(amount // 10 ** (decimals - DECIMALS))


def balance(address: str, rows: Iterable[Mapping[str, Any]]) -> Balance:
    """``rows`` are an organization's assets with what is posted and held in each kind of account."""
    assets, funded, promotional = [], 0, 0
    for row in rows:
        funded += millionths(row["funded"] - row["funded_held"], row["decimals"])
        promotional += millionths(row["promotional"] - row["promotional_held"], row["decimals"])
        held = row["funded_held"] + row["promotional_held"]
        assets.append(
            AssetBalance(
                asset_id=row["asset_id"],
                symbol=row["symbol"],
                network=row["network"],
                decimals=row["decimals"],
                funded_atomic=row["funded"],
                promotional_atomic=row["promotional"],
                held_atomic=held,
                available_atomic=row["funded"] + row["promotional"] - held,
            )
        )
    total = funded + promotional
    sources = [
        SourceBalance(
            source="onchain_deposit", kind="funded", balance_atomic=funded, balance_usd=usd(funded)
        ),
        SourceBalance(
            source="admin_grant", kind="promotional", balance_atomic=promotional, balance_usd=usd(promotional)
        ),
    ]
    return Balance(
        wallet_address=address,
        balance_atomic=total,
        balance_usd=usd(total),
        funded_balance_atomic=funded,
        funded_balance_usd=usd(funded),
        promotional_balance_atomic=promotional,
        promotional_balance_usd=usd(promotional),
        by_source=[one for one in sources if one.balance_atomic],
        assets=assets,
        recovery_warning="Keep the API key: a wallet cannot be recovered without it." if total else None,
    )


def usd(amount: int) -> str:
    return money.to_text(amount, DECIMALS)


def midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


def cursor(created_at: datetime, line_id: UUID) -> str:
    """Opaque to clients: the place in the order, not a count, so new lines do not shift a page."""
    return base64.urlsafe_b64encode(f"{created_at.isoformat()}|{line_id}".encode()).decode()


def read_cursor(text: str) -> tuple[datetime, UUID]:
    try:
        created_at, _, line_id = base64.b64decode(text, altchars=b"-_", validate=True).decode().partition("|")
        # In UTC, which a time at either end of the calendar does not have.
        at = datetime.fromisoformat(created_at).astimezone(UTC)
        return at, UUID(line_id)
    except (ValueError, OverflowError, binascii.Error):
        raise ValueError("is not a cursor from an earlier page") from None
