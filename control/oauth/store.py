from dataclasses import dataclass, field
from uuid import UUID

from asyncpg import Record

from control.oauth import rules
from control.oauth.models import Connection, Provider
from gateway.kit.sql import Db, Statements
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class State:
    """Somebody on their way to a provider and back."""

    id: UUID
    secret: str = field(repr=False)
    provider_id: UUID
    organization_id: UUID
    user_id: UUID
    callback: str
    """The path that the provider sends them back to."""
    redirect_uri: str
    verifier_sealed: bytes


async def providers(db: Db, organization_id: UUID) -> list[Provider]:
    return [Provider(**dict(row)) for row in await db.fetch(SQL.providers, organization_id, PLATFORM)]


async def provider(
    db: Db, organization_id: UUID, *, provider_id: UUID | None = None, slug: str | None = None
) -> Record | None:
    return await db.fetchrow(SQL.provider, organization_id, PLATFORM, provider_id, slug)


async def provider_by_id(db: Db, provider_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.provider_by_id, provider_id)


async def begin(db: Db, new: State) -> None:
    await db.execute(
        SQL.begin, new.id, rules.digest(new.secret), new.provider_id, new.organization_id, new.user_id,
        new.callback, new.redirect_uri, new.verifier_sealed,
    )  # fmt: skip


async def find_state(db: Db, secret: str, callback: str) -> Record | None:
    """None for one that is unknown, used, of another provider, or older than ten minutes."""
    return await db.fetchrow(SQL.find_state, rules.digest(secret), callback)


async def take(db: Db, state_id: UUID) -> bool:
    return await db.fetchval(SQL.take, state_id) is not None


async def park(db: Db, state_id: UUID, code_sealed: bytes, confirmation: str) -> bool:
    return await db.fetchval(SQL.park, state_id, code_sealed, rules.digest(confirmation)) is not None


async def confirm(db: Db, confirmation: str, organization_id: UUID, user_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.confirm, rules.digest(confirmation), organization_id, user_id)


async def prune(db: Db) -> None:
    await db.execute(SQL.prune)


async def connections(db: Db, organization_id: UUID, user_id: UUID) -> list[Connection]:
    return [Connection(**dict(row)) for row in await db.fetch(SQL.connections, organization_id, user_id)]
