"""Mail that waits to be sent. Whoever causes it writes it here, in the transaction that causes it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from control.mail.letters import Letter
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A letter that is this process's to send, for as long as the lease."""

    id: UUID
    recipient: str
    subject: str
    body_text: str
    body_html: str
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Waiting:
    id: UUID
    recipient: str
    subject: str
    body_text: str
    created_at: datetime
    expires_at: datetime
    attempts: int
    sent_at: datetime | None
    failed_at: datetime | None
    last_error: str | None


async def post(
    db: Db, recipient: str, letter: Letter, lifetime: timedelta, *, is_decoy: bool = False
) -> UUID:
    """``lifetime`` is how long it is of use. A decoy is written like any other letter and never sent."""
    letter_id = ids.new()
    await db.execute(
        SQL.post, letter_id, recipient, letter.subject, letter.as_text(), letter.as_html(), lifetime, is_decoy
    )
    return letter_id


async def claim(db: Db, limit: int, lease: timedelta) -> list[Claimed]:
    """Take letters that are due. Nobody else is given them while the lease runs, and no two ever are."""
    return [Claimed(**dict(row)) for row in await db.fetch(SQL.claim, limit, lease)]


async def sent(db: Db, letter_id: UUID) -> None:
    await db.execute(SQL.sent, letter_id)


async def postpone(db: Db, letter_id: UUID, wait: timedelta, error: str) -> None:
    await db.execute(SQL.postpone, letter_id, wait, error)


async def give_up(db: Db, letter_id: UUID, error: str) -> None:
    await db.execute(SQL.give_up, letter_id, error)


async def waiting(db: Db, *, with_sent: bool) -> list[Waiting]:
    """For the operator, newest first."""
    return [Waiting(**dict(row)) for row in await db.fetch(SQL.waiting, with_sent)]


async def count(db: Db) -> tuple[int, int]:
    """How many wait, and how many were given up and are not forgotten yet."""
    row = await db.fetchrow(SQL.count)
    assert row is not None, "count always has a row"
    return row["waiting"], row["failed"]


async def find(db: Db, letter_id: UUID) -> Waiting | None:
    row = await db.fetchrow(SQL.find, letter_id)
    return None if row is None else Waiting(**dict(row))


async def prune(db: Db) -> None:
    """What nobody can use any more is not sent any more, and all of it is forgotten after a week."""
    await db.execute(SQL.expire)
    await db.execute(SQL.prune)
