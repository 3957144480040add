from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from control.recovery.codes import fingerprint
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Whom a code lets in, and whose money their new key spends."""

    user_id: UUID
    organization_id: UUID
    mode: Literal["live", "test"]


@dataclass(frozen=True, slots=True)
class Standing:
    has_code: bool
    has_email: bool


async def put(db: Db, owner: Recovery, code: str, email: str | None) -> tuple[bool, bool]:
    """Keep the code unless there is one; an address that is given replaces the one before.

    Returns whether this code is the one that counts, and whether there is an address.
    """
    row = await db.fetchrow(
        SQL.put, owner.user_id, owner.organization_id, owner.mode, fingerprint(code), email
    )
    assert row is not None, "the upsert returns its row"
    return row["is_new"], row["has_email"]


async def take(db: Db, code: str) -> Recovery | None:
    """Lock the account that the code is of; None for a code that is of none."""
    row = await db.fetchrow(SQL.take, fingerprint(code))
    return None if row is None else Recovery(**dict(row))


async def rotate(db: Db, user_id: UUID, old: str, new: str, key_id: UUID) -> None:
    await db.execute(SQL.rotate, user_id, fingerprint(old), fingerprint(new), key_id)


async def is_own(db: Db, user_id: UUID, organization_id: UUID) -> bool:
    """Whether it is the organization that the account came with."""
    return bool(await db.fetchval(SQL.is_own, user_id, organization_id))
