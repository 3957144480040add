"""Sessions and their refresh tokens: the only writer of both tables."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from control.identity import secret_words
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    access: timedelta
    idle: timedelta
    """How long a session that nobody uses is kept."""
    longest: timedelta
    """How long one is kept that is used every day."""


@dataclass(frozen=True, slots=True)
class Session:
    id: UUID
    user_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    session: Session
    refresh_token: str
    cookie: str | None


async def start(
    db: Db, user_id: UUID, address: str, user_agent: str | None, lifetimes: Lifetimes, *, has_cookie: bool
) -> Opened:
    session_id, refresh_token = ids.new(), secret_words.new()
    cookie = secret_words.new() if has_cookie else None
    expires_at = await db.fetchval(
        SQL.start, session_id, user_id, address, (user_agent or "")[:400] or None,
        secret_words.fingerprint(cookie) if cookie else None, lifetimes.idle,
        secret_words.fingerprint(refresh_token),
    )  # fmt: skip
    return Opened(Session(session_id, user_id, expires_at), refresh_token, cookie)


@dataclass(frozen=True, slots=True)
class Rotated:
    """``refresh_token`` is None when the one that was shown had been used before."""

    session: Session
    refresh_token: str | None


async def rotate(db: Db, refresh_token: str, lifetimes: Lifetimes) -> Rotated | None:
    """Take a new refresh token for an old one; None for one that is unknown, or of a session that is over.

    One that was used before is in two hands, and nobody can tell whose: its session ends.
    """
    old, new = secret_words.fingerprint(refresh_token), secret_words.new()
    row = await db.fetchrow(SQL.rotate, old, secret_words.fingerprint(new), lifetimes.idle, lifetimes.longest)
    if row is not None:
        return Rotated(Session(**dict(row)), new)
    row = await db.fetchrow(SQL.end_family, old)
    return None if row is None else Rotated(Session(**dict(row)), None)


@dataclass(frozen=True, slots=True)
class Shown:
    id: UUID
    user_agent: str | None
    address: str | None
    created_at: datetime
    last_active_at: datetime
    expires_at: datetime


async def open_of(db: Db, user_id: UUID) -> list[Shown]:
    """The one used last first."""
    return [Shown(**dict(row)) for row in await db.fetch(SQL.open_of, user_id)]


async def find(db: Db, user_id: UUID, session_id: UUID) -> Shown | None:
    row = await db.fetchrow(SQL.find, user_id, session_id)
    return None if row is None else Shown(**dict(row))


async def addresses_of(db: Db, user_id: UUID) -> list[str]:
    """Where they signed in from of late: sessions are forgotten a month after their end."""
    return [row["address"] for row in await db.fetch(SQL.addresses_of, user_id)]


async def revoke(db: Db, user_id: UUID, session_id: UUID) -> bool:
    """False when the user has no such session, or no longer."""
    return await db.fetchval(SQL.revoke, user_id, session_id) is not None


async def revoke_all(db: Db, user_id: UUID, but: UUID | None = None) -> int:
    """Return how many there were."""
    return len(await db.fetch(SQL.revoke_all, user_id, but))


async def touch(db: Db, session_id: UUID, lifetimes: Lifetimes) -> None:
    """Note that it is used, at most once a minute."""
    await db.execute(SQL.touch, session_id, lifetimes.idle, lifetimes.longest)


async def prune(db: Db) -> None:
    """Forget what has been over for a month; until then it tells its owner who was in."""
    await db.execute(SQL.prune)
