from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asyncpg import Record

from control.api.assets import AssetInfo
from control.publishers import prices
from control.publishers.models import Publisher
from control.publishers.prices import Pricing
from control.publishers.standing import OperatedPublisher, Standing
from gateway.kit.sql import Db, Statements
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Columns:
    """A publisher as stored, but for its prices."""

    name: str
    category: str
    wallet_address: str
    wallet_network_id: str
    api_url: str | None
    auth_type: str
    auth_sealed: bytes | None
    details: dict[str, Any]
    database_sealed: bytes | None = None
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """An accepted asset with its prices as stored."""

    asset_id: UUID
    decimals: int
    prices: dict[str, Any]
    is_prepaid_enabled: bool = True
    is_onchain_enabled: bool = True
    symbol: str = ""
    mode: str = ""


async def insert(db: Db, publisher_id: UUID, organization_id: UUID, slug: str, new: Columns) -> bool:
    """False when the slug is taken."""
    return (
        await db.fetchval(
            SQL.insert, publisher_id, organization_id, slug, new.name, new.category, new.wallet_address,
            new.wallet_network_id, new.api_url, new.auth_type, new.auth_sealed, new.details,
            new.database_sealed,
        )
        is not None
    )  # fmt: skip


async def look(db: Db, organization_id: UUID, publisher_id: UUID) -> Columns | None:
    return stored(await db.fetchrow(SQL.look, organization_id, publisher_id))


async def lock(db: Db, organization_id: UUID, publisher_id: UUID) -> Columns | None:
    return stored(await db.fetchrow(SQL.lock, organization_id, publisher_id))


def stored(row: Record | None) -> Columns | None:
    return Columns(**{name: row[name] for name in Columns.__slots__}) if row else None


async def update(db: Db, publisher_id: UUID, new: Columns) -> None:
    await db.execute(
        SQL.update, publisher_id, new.name, new.category, new.wallet_address, new.wallet_network_id,
        new.api_url, new.auth_type, new.auth_sealed, new.details, new.is_active,
        new.database_sealed,
    )  # fmt: skip


async def delete(db: Db, organization_id: UUID, publisher_id: UUID) -> bool:
    return await db.fetchval(SQL.delete, organization_id, publisher_id) is not None


async def pricing(db: Db, publisher_id: UUID) -> list[Listed]:
    rows = await db.fetch(SQL.pricing, publisher_id)
    return [Listed(**{name: row[name] for name in Listed.__slots__}) for row in rows]


async def set_pricing(db: Db, publisher_id: UUID, position: int, one: Listed) -> None:
    await db.execute(
        SQL.set_pricing, publisher_id, one.asset_id, position, one.prices,
        one.is_prepaid_enabled, one.is_onchain_enabled,
    )  # fmt: skip


async def drop_pricing(db: Db, publisher_id: UUID, asset_ids: Sequence[UUID]) -> None:
    await db.execute(SQL.drop_pricing, publisher_id, asset_ids)


async def assets(db: Db, network: str, asset_ids: Sequence[UUID]) -> list[Record]:
    """The assets of a network, and others by id."""
    return await db.fetch(SQL.assets, network, asset_ids)


async def find_provider(db: Db, organization_id: UUID, name: str) -> UUID | None:
    """By slug or id; the organization's own before the platform's."""
    found: UUID | None = await db.fetchval(SQL.find_provider, organization_id, name, PLATFORM)
    return found


async def has_branch(db: Db, organization_id: UUID, branch_id: UUID, project_id: str | None) -> bool:
    found = await db.fetchval(SQL.has_branch, branch_id, organization_id, project_id and UUID(project_id))
    return bool(found)


async def networks(db: Db) -> list[str]:
    return [row["network"] for row in await db.fetch(SQL.networks)]


async def page_of_organization(
    db: Db, organization_id: UUID, limit: int, offset: int, names: Mapping[str, str]
) -> tuple[int, list[Publisher]]:
    total = int(await db.fetchval(SQL.count_of_organization, organization_id))
    rows = await db.fetch(SQL.ids_of_organization, organization_id, limit, offset)
    return total, await show(db, [row["id"] for row in rows], names)


async def page_of_store(
    db: Db, filters: Sequence[Any], limit: int, offset: int, names: Mapping[str, str]
) -> tuple[int, list[Publisher]]:
    """``filters`` are the verification, the category and the text to search for, each None for all."""
    total = int(await db.fetchval(SQL.count_of_store, *filters))
    rows = await db.fetch(SQL.ids_of_store, *filters, limit, offset)
    return total, await show(db, [row["id"] for row in rows], names)


async def by_slug(db: Db, slug: str, names: Mapping[str, str]) -> Publisher | None:
    publisher_id = await db.fetchval(SQL.id_of_slug, slug)
    return None if publisher_id is None else await get(db, publisher_id, names)


async def get(db: Db, publisher_id: UUID, names: Mapping[str, str]) -> Publisher:
    (publisher,) = await show(db, [publisher_id], names)
    return publisher


async def show(db: Db, publisher_ids: Sequence[UUID], names: Mapping[str, str]) -> list[Publisher]:
    """Publishers in the order of their ids here. ``names`` are the networks' names."""
    rows = {row["id"]: row for row in await db.fetch(SQL.show, publisher_ids)}
    return [shown(rows[one], names) for one in publisher_ids if one in rows]


def shown(row: Record, names: Mapping[str, str]) -> Publisher:
    columns = dict(row)
    details, assets = columns.pop("details"), columns.pop("assets")
    accepted = [
        AssetInfo(
            id=one["id"], symbol=one["symbol"], name=one["name"], decimals=one["decimals"],
            network_id=one["network"], network_name=names.get(one["network"], one["network"]),
            contract_address=one["address"],
        )
        for one in assets
    ]  # fmt: skip
    pricing = [
        priced(
            one["id"],
            one["symbol"],
            one["decimals"],
            one["prices"],
            {"prepaid_enabled": one["prepaid_enabled"], "onchain_enabled": one["onchain_enabled"]},
        )
        for one in assets
    ]
    # The address is stored in lower case, and shown as it was given.
    return Publisher(**{**columns, **details}, accepted_assets=accepted, pricing=pricing)


def priced(
    asset_id: UUID, symbol: str, decimals: int, stored: Mapping[str, Any], switches: Mapping[str, bool]
) -> Pricing:
    return Pricing.model_validate(
        {"asset_id": asset_id, "asset_symbol": symbol, **prices.as_text(stored, decimals), **switches}
    )


async def candidates(db: Db, words: Sequence[str]) -> list[dict[str, Any]]:
    return [dict(row) for row in await db.fetch(SQL.candidates, words)]


async def sealed_ids(db: Db) -> list[UUID]:
    return [row["id"] for row in await db.fetch(SQL.sealed_ids)]


async def lock_sealed(db: Db, publisher_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.lock_sealed, publisher_id)


async def replace_sealed(db: Db, publisher_id: UUID, auth: bytes | None, database: bytes | None) -> None:
    await db.execute(SQL.replace_sealed, publisher_id, auth, database)


async def slug_of(db: Db, organization_id: UUID, publisher_id: UUID) -> str | None:
    found = await db.fetchval(SQL.slug, organization_id, publisher_id)
    return None if found is None else str(found)


async def put_logo(
    db: Db, organization_id: UUID, publisher_id: UUID, content_type: str, content: bytes, url: str
) -> bool:
    if await db.fetchval(SQL.show_logo_at, organization_id, publisher_id, url) is None:
        return False
    await db.execute(SQL.put_logo, publisher_id, content_type, content)
    return True


async def logo(db: Db, slug: str, publisher_id: UUID | None) -> Record | None:
    return await db.fetchrow(SQL.logo, slug, publisher_id)


async def set_standing(db: Db, publisher_id: UUID, standing: Standing) -> OperatedPublisher | None:
    row = await db.fetchrow(
        SQL.set_standing, publisher_id, standing.is_verified, standing.is_suspended, standing.is_first_party
    )
    return OperatedPublisher(**dict(row)) if row else None
