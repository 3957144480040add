"""Assets, and the accounts that hold them."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

from config.settings import Network
from gateway.kit import ids
from gateway.kit.sql import Db, Statements
from gateway.types import Asset

SQL = Statements(__file__)

Kind: TypeAlias = Literal[
    "funded", "promotional", "earnings", "payouts", "fees", "promotion_budget", "revenue",
    "chain", "stripe", "polar", "bank",
]  # fmt: skip

PLATFORM = UUID("00000000-0000-7000-8000-000000000000")
"""The organization that runs this installation; migration 0001 made it."""


def asset_id(network: str, address: str) -> UUID:
    """UUIDv5 of the asset's CAIP-19 name, so that every installation gives an asset the same id."""
    return ids.as_in_rows(uuid5(NAMESPACE_URL, f"{network}/erc20:{address.lower()}"))


def of_networks(networks: Sequence[Network]) -> Mapping[UUID, Asset]:
    """The assets that the settings name, by id."""
    assets = [
        Asset(
            asset_id(network.id, one.address), network.id, one.address.lower(), one.symbol,
            one.name, one.version, one.decimals, "test" if network.is_test else "live",
        )
        for network in networks
        for one in network.assets
    ]  # fmt: skip
    return {asset.id: asset for asset in assets}


def price_minimums(networks: Sequence[Network]) -> Mapping[UUID, int]:
    """The least that is paid on chain, in atomic units of the assets that have such a bound."""
    return {
        asset_id(network.id, one.address): one.least
        for network in networks
        for one in network.assets
        if one.least
    }


class AssetChanged(Exception):
    """The settings contradict what money was booked in; the text is a sentence for the operator."""


async def publish_assets(db: Db, networks: Sequence[Network]) -> None:
    """Write down the assets of the settings, and open the platform's accounts for each."""
    for asset in of_networks(networks).values():
        await db.execute(
            SQL.publish_asset, asset.id, asset.network, asset.address, asset.symbol,
            asset.name, asset.version, asset.decimals, asset.mode,
        )  # fmt: skip
        await db.execute(SQL.rename_asset, asset.id, asset.symbol, asset.name, asset.version)
        booked = await db.fetchrow(SQL.terms, asset.id)
        assert booked is not None, "it was published by the statement above"
        if (booked["decimals"], booked["mode"]) != (asset.decimals, asset.mode):
            raise AssetChanged(
                f"{asset.symbol} on {asset.network} was booked with {booked['decimals']} decimals as "
                f"{booked['mode']} money, and the settings now say {asset.decimals} and {asset.mode}."
            )
        for kind in ("chain", "fees"):
            await ensure(db, PLATFORM, asset.id, kind)


async def ensure(db: Db, owner_id: UUID, asset_id: UUID, kind: Kind) -> UUID:
    """Return the owner's account of that kind, opened now if there was none."""
    opened = await db.fetchval(SQL.open, ids.new(), owner_id, asset_id, kind)
    account_id = opened or await db.fetchval(SQL.find, owner_id, asset_id, kind)
    assert isinstance(account_id, UUID), "the asset was published before anybody got an account in it"
    return account_id


async def find(db: Db, owner_id: UUID, asset_id: UUID, kind: Kind) -> UUID | None:
    found: UUID | None = await db.fetchval(SQL.find, owner_id, asset_id, kind)
    return found


async def available(db: Db, owner_id: UUID, asset_id: UUID) -> int:
    """What the owner can spend on calls now, in atomic units: posted less held."""
    return int(await db.fetchval(SQL.available, owner_id, asset_id) or 0)


async def owner(db: Db, account_id: UUID) -> UUID:
    owner_id = await db.fetchval(SQL.owner, account_id)
    assert isinstance(owner_id, UUID), "accounts are never removed"
    return owner_id
