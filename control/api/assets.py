"""An asset, in answers that are about money in it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from asyncpg import Record
from pydantic import BaseModel, Field, PlainSerializer

from config.settings import Network

Number = Annotated[
    Decimal,
    PlainSerializer(lambda value: value.__float__(), return_type=float),
    Field(description="In units of the asset, to be shown: the exact amount is the one in atomic units."),
]


class AssetInfo(BaseModel):
    id: UUID
    symbol: str
    name: str
    decimals: int
    network_id: Annotated[str, Field(description="CAIP-2.")]
    network_name: str
    contract_address: str | None
    is_native: bool = False
    is_stablecoin: bool = True


def info(row: Record, networks: Sequence[Network]) -> AssetInfo:
    """``row`` has the columns of ``assets`` with ``asset_`` before them."""
    network_id = row["asset_network"]
    name = next((one.name for one in networks if one.id == network_id), None)
    return AssetInfo(
        id=row["asset_id"],
        symbol=row["asset_symbol"],
        name=row["asset_name"],
        decimals=row["asset_decimals"],
        network_id=network_id,
        network_name=name or network_id,
        contract_address=row["asset_address"],
    )


def number(atomic: int, decimals: int) -> Decimal:
    return Decimal(atomic).scaleb(-decimals)
