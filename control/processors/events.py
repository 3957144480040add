"""What processors told us: stored as it came before anything is done about it, and done by a job."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from control.processors.port import Provider
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

State: TypeAlias = Literal["waiting", "done", "ignored", "failed"]


@dataclass(frozen=True, slots=True)
class Event:
    id: UUID
    provider: Provider
    event_id: str
    type: str
    state: State
    note: str | None
    attempts: int
    due_at: datetime
    received_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Leased:
    id: UUID
    provider: Provider
    body: str
    attempts: int


async def store(db: Db, provider: Provider, event_id: str, type: str, body: str) -> None:
    """Once, however often it is delivered."""
    await db.execute(SQL.store, ids.new(), provider, event_id, type, body)


async def lease(db: Db, most: int, lasting: timedelta, providers: list[Provider]) -> list[Leased]:
    return [Leased(**dict(row)) for row in await db.fetch(SQL.lease, most, lasting, providers)]


async def finish(db: Db, leased: Leased, state: State, note: str | None) -> None:
    await db.execute(SQL.finish, leased.id, leased.attempts, state, note)


async def postpone(db: Db, leased: Leased, delay: timedelta, note: str) -> None:
    await db.execute(SQL.postpone, leased.id, leased.attempts, delay, note)


async def again(db: Db, id: UUID) -> Event | None:
    return event(await db.fetchrow(SQL.again, id))


async def index(
    db: Db, state: State | None, provider: Provider | None, limit: int, offset: int
) -> tuple[list[Event], int]:
    rows = await db.fetch(SQL.index, state, provider, limit, offset)
    found = [one for row in rows if (one := event(row)) is not None]
    return found, int(await db.fetchval(SQL.count, state, provider))


async def find(db: Db, id: UUID) -> tuple[Event, str] | None:
    """With its body."""
    row = await db.fetchrow(SQL.find, id)
    found = event(row)
    return (found, row["body"]) if found is not None and row is not None else None


async def counts(db: Db) -> tuple[int, int]:
    """How many wait, and how many failed."""
    return int(await db.fetchval(SQL.waiting)), int(await db.fetchval(SQL.failed))


async def prune(db: Db, kept: timedelta) -> None:
    await db.execute(SQL.prune, kept)


def event(row: Record | None) -> Event | None:
    return None if row is None else Event(**{name: row[name] for name in Event.__dataclass_fields__})
