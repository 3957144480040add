"""How a wallet of several assets is added up, and where a page of its history ends."""

from collections.abc import Iterable, Mapping
from typing import Any

from control.giving.sources import SOURCES
from control.wallet.models import AssetBalance, Balance, SourceBalance
from gateway.kit.money import millionths, usd

NOT_RECOVERABLE = (
    "Whoever loses the API key loses the wallet: POST /wallet/recovery gives a code that brings it back."
)


def balance(
    address: str,
    rows: Iterable[Mapping[str, Any]],
    given: Mapping[str, int],
    purchases: int = 0,
    *,
    has_recovery: bool = False,
) -> Balance:
    """``rows`` are an organization's assets with what is posted and held in each kind of account.

    ``given`` is what is left of grants, by why they were given, and ``purchases`` what was bought by card: in
    millionths of a dollar.
    """
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
    # Once some of it was spent, nobody can say which deposits are left.
    deposits = "deposit" if purchases else "onchain_deposit"
    by_source = [
        SourceBalance(source=deposits, kind="funded", balance_atomic=funded, balance_usd=usd(funded)),
        *(
            SourceBalance(
                source=SOURCES[reason], kind="promotional", balance_atomic=left, balance_usd=usd(left)
            )
            for reason, left in sorted(given.items())
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
        by_source=[one for one in by_source if one.balance_atomic],
        assets=assets,
        total_purchases_cents=purchases // 10**4,
        total_purchases_usd=usd(purchases),
        has_recovery=has_recovery,
        recovery_warning=None if has_recovery or not total else NOT_RECOVERABLE,
    )
