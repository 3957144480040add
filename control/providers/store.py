from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.providers.models import Provider
from gateway.kit.sql import Db, Statements
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)

# Fields with a column of their name, in the order of the statements.
FIELDS = (
    "slug", "name", "description", "logo_url", "authorization_url", "token_url", "revocation_url",
    "userinfo_url", "client_id", "secret_sealed", "scopes", "custom_auth_params", "pkce_required",
    "token_endpoint_auth_method", "issuer",
)  # fmt: skip


async def index(db: Db, organization_id: UUID) -> list[Provider]:
    return [shown(row) for row in await db.fetch(SQL.list, organization_id)]


async def get(db: Db, organization_id: UUID, provider_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.get, organization_id, provider_id)


async def lock(db: Db, organization_id: UUID, provider_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.lock, organization_id, provider_id)


def shown(row: Record) -> Provider:
    owner = row["organization_id"]
    # The platform's own belong to nobody in particular.
    return Provider(**{**dict(row), "organization_id": None if owner == PLATFORM else owner})


async def insert(db: Db, provider_id: UUID, organization_id: UUID, values: Mapping[str, Any]) -> bool:
    """False when the slug is taken."""
    columns = [values[name] for name in FIELDS]
    return await db.fetchval(SQL.insert, provider_id, organization_id, *columns) is not None


async def update(db: Db, provider_id: UUID, values: Mapping[str, Any]) -> bool:
    """False when the slug is taken."""
    try:
        await db.execute(SQL.update, provider_id, *(values[name] for name in FIELDS), values["is_active"])
    except asyncpg.UniqueViolationError:
        return False
    return True


async def count(db: Db, organization_id: UUID) -> int:
    """That stays so until this transaction ends."""
    await db.execute(SQL.lock_organization, organization_id)
    return int(await db.fetchval(SQL.count, organization_id))


async def is_used(db: Db, provider_id: UUID) -> bool:
    """By a publisher whose callers would be left without it."""
    return bool(await db.fetchval(SQL.is_used, str(provider_id)))


async def delete(db: Db, organization_id: UUID, provider_id: UUID) -> bool:
    return await db.fetchval(SQL.delete, organization_id, provider_id) is not None


async def sealed_ids(db: Db) -> list[UUID]:
    return [row["id"] for row in await db.fetch(SQL.sealed_ids)]


async def lock_sealed(db: Db, provider_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.lock_sealed, provider_id)


async def reseal(db: Db, provider_id: UUID, sealed: bytes) -> None:
    await db.execute(SQL.reseal, provider_id, sealed)
