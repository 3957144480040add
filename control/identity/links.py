"""Links in mail that prove an address: single use, stored as the hash of their word."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias
from uuid import UUID

from control.identity import secret_words
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

Kind: TypeAlias = Literal["verify", "reset", "magic"]

LIFETIMES: dict[Kind, timedelta] = {
    "verify": timedelta(hours=24),
    "reset": timedelta(hours=1),
    "magic": timedelta(minutes=10),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody chose at signing up, and did not prove to be entitled to."""

    name: str | None = None
    password_hash: str | None = None


NO_CLAIM = Claim()


async def make(db: Db, kind: Kind, email: str, user_id: UUID | None, claim: Claim = NO_CLAIM) -> str:
    """Return the word for the link. Without a user it is a decoy, which opens nothing."""
    word = secret_words.new()
    await db.execute(
        SQL.make, secret_words.fingerprint(word), kind if user_id else "decoy", email, user_id, claim.name,
        claim.password_hash, LIFETIMES[kind],
    )  # fmt: skip
    return word


@dataclass(frozen=True, slots=True)
class Used:
    user_id: UUID
    name: str | None
    password_hash: str | None


async def use(db: Db, kind: Kind, word: str) -> Used | None:
    """None for one that is unknown, used or over."""
    row = await db.fetchrow(SQL.use, secret_words.fingerprint(word), kind)
    return None if row is None else Used(**dict(row))


@dataclass(frozen=True, slots=True)
class Found:
    user_id: UUID
    is_open: bool


async def find(db: Db, kind: Kind, word: str) -> Found | None:
    """Whose it is and whether it can be used still; None when there never was such a link."""
    row = await db.fetchrow(SQL.find, secret_words.fingerprint(word), kind)
    return None if row is None else Found(**dict(row))


async def latest_claim(db: Db, email: str) -> Claim:
    """What was last chosen for an address and can still be proved."""
    row = await db.fetchrow(SQL.latest_claim, email)
    return NO_CLAIM if row is None else Claim(**dict(row))


async def sole_claim(db: Db, email: str) -> Claim:
    """What was chosen for an address, if all who chose agree: else a link would confirm anybody's choice."""
    row = await db.fetchrow(SQL.sole_claim, email)
    return NO_CLAIM if row is None else Claim(**dict(row))


async def is_contested(db: Db, email: str, password_hash: str | None) -> bool:
    """Whether another password than the one with this link was chosen for an address not yet proved."""
    return password_hash is not None and bool(await db.fetchval(SQL.is_contested, email, password_hash))


async def void(db: Db, user_id: UUID) -> None:
    """Every open link of somebody's: their password has changed."""
    await db.execute(SQL.void, user_id)


async def prune(db: Db) -> None:
    await db.execute(SQL.prune)
