"""API keys as rows: the only writer of their table. Their form is in ``gateway.kit.keys``."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from control.api.permissions import BuiltIn
from gateway.kit import ids, keys
from gateway.kit.sql import Db, Statements
from gateway.ledger import events

SQL = Statements(__file__)

Kind: TypeAlias = Literal["user", "agent"]


@dataclass(frozen=True, slots=True)
class NewKey:
    organization_id: UUID
    user_id: UUID
    name: str
    kind: Kind
    mode: Literal["live", "test"]
    scopes: list[str] | None = None
    expires_at: datetime | None = None
    project_id: UUID | None = None
    project_role: BuiltIn | None = None
    """For a project's key, which acts in its project only and spends nothing."""


async def issue(db: Db, new: NewKey) -> tuple[Record, str]:
    """Return the stored row and the key itself, which is nowhere else: only its fingerprint is kept."""
    key = keys.new(new.mode) if new.project_id is None else keys.new_for_project()
    row = await db.fetchrow(
        SQL.issue, ids.new(), new.organization_id, new.user_id, new.name, new.kind,
        keys.prefix(key), keys.fingerprint(key), new.mode, new.scopes, new.expires_at,
        new.project_id, new.project_role, key[-4:],
    )  # fmt: skip
    assert row is not None, "without ON CONFLICT, an INSERT returns its row"
    return row, key


async def revoke(db: Db, organization_id: UUID, key_id: UUID) -> bool:
    """False when there is no such key, or no longer."""
    return await db.fetchval(SQL.revoke, organization_id, key_id) is not None


async def rename_of_project(db: Db, project_id: UUID, key_id: UUID, name: str) -> bool:
    return await db.fetchval(SQL.rename_of_project, project_id, key_id, name) is not None


async def revoke_in_project(db: Db, organization_id: UUID, project_id: UUID, key_id: UUID) -> bool:
    """Revoked before or now; False when there never was such a key."""
    is_news = await db.fetchval(SQL.revoke_in_project, project_id, key_id)
    if is_news:
        await events.emit(db, organization_id, "key.revoked", {"key_id": str(key_id)}, project_id)
    return is_news is not None


async def rescope(db: Db, organization_id: UUID, user_id: UUID, key_id: UUID, scopes: list[str]) -> bool:
    """False when the user has no such key that still counts."""
    return await db.fetchval(SQL.rescope, organization_id, user_id, key_id, scopes) is not None


async def revoke_of_project(db: Db, organization_id: UUID, project_id: UUID) -> None:
    """``organization_id`` is the one that the keys acted in."""
    for row in await db.fetch(SQL.revoke_of_project, project_id):
        await events.emit(db, organization_id, "key.revoked", {"key_id": str(row["id"])}, project_id)


async def revoke_of_project_member(db: Db, project_id: UUID, user_id: UUID) -> None:
    """Those of somebody who is in the project by their organization as well go on working."""
    for row in await db.fetch(SQL.revoke_of_project_member, project_id, user_id):
        told = {"key_id": str(row["id"])}
        await events.emit(db, row["organization_id"], "key.revoked", told, project_id)


async def revoke_of_member(db: Db, organization_id: UUID, user_id: UUID) -> None:
    """They would work again if their user was invited again, and nobody would think of them."""
    for row in await db.fetch(SQL.revoke_of_member, organization_id, user_id):
        told = {"key_id": str(row["id"])}
        await events.emit(db, organization_id, "key.revoked", told, row["project_id"])


async def revoke_of_account(db: Db, user_id: UUID, organization_id: UUID) -> None:
    """Those that act as this user anywhere, and all of their own organization."""
    for row in await db.fetch(SQL.revoke_of_account, user_id, organization_id):
        told = {"key_id": str(row["id"])}
        await events.emit(db, row["organization_id"], "key.revoked", told, row["project_id"])


async def lock_unless_issued(db: Db, organization_id: UUID) -> bool:
    """False when the organization ever had a key.

    Whoever asks at the same time waits for this transaction.
    """
    await db.execute(SQL.lock, organization_id)
    return not await db.fetchval(SQL.was_issued, organization_id)
