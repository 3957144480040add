"""People, agents and their organizations: the only writer of these tables."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Newcomer:
    user_id: UUID
    organization_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, and what they prove themselves by. Agents are people here."""

    id: UUID
    kind: Literal["person", "agent"]
    name: str
    email: str | None
    email_verified_at: datetime | None
    password_hash: str | None
    avatar: str | None
    created_at: datetime
    updated_at: datetime
    last_sign_in_at: datetime | None
    suspended_at: datetime | None
    organization_id: UUID | None
    """The one they act for when a request names none: their own, else the first they joined."""

    @property
    def is_verified(self) -> bool:
        return self.email_verified_at is not None


def normal_email(email: str) -> str:
    """One spelling for one mailbox: nobody's mail depends on case, whatever RFC 5321 allows."""
    normal = unicodedata.normalize("NFC", email.strip()).lower()
    # Nobody sees them, and of letters that Python does not know yet Postgres may know another small form.
    if not normal.isprintable():
        raise ValueError("has a character that is not shown")
    return normal


async def create(db: Db, kind: Literal["person", "agent"], name: str, email: str | None) -> Newcomer:
    """Create somebody, with a personal organization that they own."""
    new = await create_unless_known(db, kind, name, email)
    assert new is not None, "whoever may be known already is created by the other function"
    return new


async def create_unless_known(
    db: Db, kind: Literal["person", "agent"], name: str, email: str | None
) -> Newcomer | None:
    """None when the address is another person's, whoever was faster."""
    user_id, organization_id = ids.new(), ids.new()
    slug = slug_of(name, organization_id)
    created_at = await db.fetchval(SQL.create, user_id, kind, name, email, organization_id, slug)
    return None if created_at is None else Newcomer(user_id, organization_id, created_at)


async def find(db: Db, user_id: UUID) -> Person | None:
    row = await db.fetchrow(SQL.find, user_id)
    return None if row is None else Person(**dict(row))


async def find_by_email(db: Db, email: str) -> Person | None:
    """``email`` is normal already. Agents have no address of their own."""
    row = await db.fetchrow(SQL.find_by_email, email)
    return None if row is None else Person(**dict(row))


async def lock(db: Db, user_id: UUID) -> Person | None:
    """For what a new password decides: signing in, and everything that a link opens, wait for each other.

    Taken before any other row, so that no two of them wait for one another.
    """
    await db.execute(SQL.lock, user_id)
    return await find(db, user_id)


async def verify(db: Db, user_id: UUID, name: str | None, password_hash: str | None) -> bool:
    """Whoever opened the link has the address, and what they chose with it. False when it had an owner."""
    return await db.fetchval(SQL.verify, user_id, name, password_hash) is not None


async def set_password(db: Db, user_id: UUID, password_hash: str, *, is_proved: bool = False) -> None:
    """``is_proved`` by a link in mail, which verifies the address as well."""
    await db.execute(SQL.set_password, user_id, password_hash, is_proved)


async def rehash(db: Db, user_id: UUID, old: str, new: str) -> None:
    """The same password in another encoding, unless it was changed meanwhile."""
    await db.execute(SQL.rehash, user_id, old, new)


async def rename(db: Db, user_id: UUID, name: str) -> None:
    await db.execute(SQL.rename, user_id, name)


async def set_avatar(db: Db, user_id: UUID, avatar: str | None) -> None:
    await db.execute(SQL.set_avatar, user_id, avatar)


async def give_login(db: Db, user_id: UUID, email: str, password_hash: str) -> bool:
    """False when they have one, which is left alone."""
    return await db.fetchval(SQL.give_login, user_id, email, password_hash) is not None


async def suspend(db: Db, user_id: UUID, by: UUID, *, is_suspended: bool) -> bool:
    """False for nobody, for the operator, and for whoever asks."""
    return await db.fetchval(SQL.suspend, user_id, is_suspended, by) is not None


def slug_of(name: str, organization_id: UUID) -> str:
    """A readable slug; its end is from the id's random bits, so nobody can take it first."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return "-".join(filter(None, [words, organization_id.hex[-12:]]))
