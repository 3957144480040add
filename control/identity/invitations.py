"""Invitations by mail, to an organization or to one of its projects: the only writer of their table.

The link in the mail has a token that is nowhere else; its hash is stored. It can be used once, for a week,
and by an account with the address it was sent to. Inviting the same address again makes a new link of it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.api.permissions import BuiltIn
from gateway.kit import ids
from gateway.kit.sql import Db, Statements
from gateway.ledger import events

SQL = Statements(__file__)

LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class NewInvitation:
    organization_id: UUID
    email: str
    role: BuiltIn | None
    role_id: UUID | None
    invited_by: UUID
    project_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    invitation_id: UUID
    organization_id: UUID
    organization_name: str
    project_id: UUID | None
    role: str
    """The name of the role that the member has now."""
    role_id: UUID | None
    permissions: list[str]
    """Of a custom role."""


async def invite(db: Db, new: NewInvitation) -> tuple[Record, str]:
    """Return the stored row and the token for the link."""
    token = secrets.token_urlsafe(32)
    row = await db.fetchrow(
        SQL.invite, ids.new(), new.organization_id, new.project_id, new.email.lower(), new.role, new.role_id,
        fingerprint(token), new.invited_by, LIFETIME,
    )  # fmt: skip
    assert row is not None, "an INSERT or UPDATE that nothing prevents returns its row"
    return row, token


async def revoke(db: Db, organization_id: UUID, project_id: UUID | None, invite_id: UUID) -> bool:
    """False when there is no such invitation that could still be accepted."""
    return await db.fetchval(SQL.revoke, organization_id, project_id, invite_id) is not None


async def revoke_of_inviter(db: Db, organization_id: UUID, user_id: UUID) -> None:
    """One could be to an address of their own."""
    await db.execute(SQL.revoke_of_inviter, organization_id, user_id)


async def accept(db: Db, token: str, user_id: UUID, *, is_project: bool) -> Accepted | None:
    """None for a token that is unknown, used or over, or was sent to somebody else's address.

    Whoever is a member already stays what they are.
    """
    taken = await db.fetchrow(SQL.take, fingerprint(token), user_id, is_project)
    if taken is None:
        return None
    try:
        joined = await join(db, taken, user_id)
    except asyncpg.ForeignKeyViolationError:
        # The custom role that it promised is no more.
        return None
    assert joined is not None, "whoever did not join was a member before"
    if joined["is_new"]:
        told = {"user_id": str(user_id), "role": joined["role"]}
        await events.emit(db, taken["organization_id"], "member.joined", told, taken["project_id"])
    where = taken["id"], taken["organization_id"], taken["organization_name"], taken["project_id"]
    return Accepted(*where, joined["role"], joined["role_id"], list(joined["permissions"]))


async def join(db: Db, taken: Record, user_id: UUID) -> Record | None:
    if taken["project_id"] is not None:
        return await db.fetchrow(SQL.join_project, taken["project_id"], user_id, taken["role"])
    return await db.fetchrow(SQL.join, taken["organization_id"], user_id, taken["role"], taken["role_id"])


async def is_known(db: Db, token: str) -> bool:
    return bool(await db.fetchval(SQL.is_known, fingerprint(token)))


def fingerprint(token: str) -> bytes:
    # It is long and random, so a plain hash is enough to store and to find it by.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
