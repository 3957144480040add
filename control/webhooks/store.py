from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asyncpg import Record

from control.webhooks import rules
from control.webhooks.models import (
    Attempt,
    Delivery,
    DeliveryInFull,
    NewWebhook,
    Replayed,
    State,
    Webhook,
    WebhookChange,
)
from control.webhooks.rules import Event
from gateway.kit.post import Reply
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Leased:
    """A webhook that this worker alone delivers to for now."""

    id: UUID
    organization_id: UUID
    name: str
    url: str
    secret_sealed: bytes
    previous_sealed: bytes | None


@dataclass(frozen=True, slots=True)
class Due:
    id: UUID
    attempt: int
    """The number of the attempt to be made."""
    event: Event


@dataclass(frozen=True, slots=True)
class Attempted:
    delivery_id: UUID
    number: int
    started_at: datetime
    milliseconds: int
    reply: Reply
    delay: timedelta | None
    """Until the next one; None for no further attempt."""

    @property
    def is_delivered(self) -> bool:
        return rules.is_success(self.reply.status)


async def insert(
    db: Db, webhook_id: UUID, organization_id: UUID, user_id: UUID, new: NewWebhook, sealed: bytes, most: int
) -> bool:
    """False when the organization has as many as it may. ``db`` is a transaction."""
    await db.execute(SQL.lock_organization, organization_id)
    if await db.fetchval(SQL.count, organization_id) >= most:
        return False
    await db.execute(
        SQL.insert, webhook_id, organization_id, new.name, new.url, unique(new.events), sealed, user_id,
        new.project_id,
    )  # fmt: skip
    return True


async def has_project(db: Db, organization_id: UUID, project_id: UUID) -> bool:
    return bool(await db.fetchval(SQL.has_project, organization_id, project_id))


def unique(names: Sequence[str]) -> list[str]:
    return sorted(set(names))


async def index(db: Db, organization_id: UUID) -> list[Webhook]:
    return [Webhook(**dict(row)) for row in await db.fetch(SQL.list, organization_id)]


async def get(db: Db, organization_id: UUID, webhook_id: UUID) -> Webhook | None:
    row = await db.fetchrow(SQL.get, organization_id, webhook_id)
    return Webhook(**dict(row)) if row else None


async def change(db: Db, organization_id: UUID, webhook_id: UUID, body: WebhookChange) -> bool:
    events = None if body.events is None else unique(body.events)
    values = (organization_id, webhook_id, body.name, body.url, events, body.enabled)
    return await db.fetchval(SQL.change, *values) is not None


async def delete(db: Db, organization_id: UUID, webhook_id: UUID) -> bool:
    return await db.fetchval(SQL.delete, organization_id, webhook_id) is not None


async def rotate(db: Db, organization_id: UUID, webhook_id: UUID, sealed: bytes, overlap: timedelta) -> bool:
    return await db.fetchval(SQL.rotate, organization_id, webhook_id, sealed, overlap) is not None


async def deliveries(
    db: Db, webhook_id: UUID, state: State | None, limit: int, offset: int
) -> list[Delivery]:
    rows = await db.fetch(SQL.deliveries, webhook_id, state, limit, offset)
    return [Delivery(**shown(row)) for row in rows]


async def delivery(db: Db, webhook_id: UUID, delivery_id: UUID) -> DeliveryInFull | None:
    row = await db.fetchrow(SQL.delivery, webhook_id, delivery_id)
    if row is None:
        return None
    attempts = [Attempt(**dict(one)) for one in await db.fetch(SQL.attempts, delivery_id)]
    return DeliveryInFull(**shown(row), attempts=attempts)


def shown(row: Record) -> dict[str, Any]:
    event = Event(row["event_id"], row["type"], row["organization_id"], row["happened_at"], row["payload"])
    return {
        **dict(row),
        "event_type": event.type,
        "payload": rules.envelope(event),
        "attempt_number": row["attempt_count"],
        "next_retry_at": row["due_at"] if row["state"] == "waiting" else None,
    }


async def replay(db: Db, webhook_id: UUID, delivery_id: UUID) -> UUID | None:
    made: UUID | None = await db.fetchval(SQL.replay, webhook_id, delivery_id)
    return made


async def replay_since(
    db: Db, webhook_id: UUID, since: datetime, most: int, *, is_failed_only: bool
) -> Replayed:
    without = ["waiting", "delivered"] if is_failed_only else ["waiting"]
    row = await db.fetchrow(SQL.replay_since, webhook_id, since, without, most)
    assert row is not None, "a count is always one row"
    return Replayed(**dict(row))


async def lease(db: Db, most: int, lease_id: UUID, lifetime: timedelta, share: int) -> list[Leased]:
    """``share`` is how many one organization may have in hand, with those of other workers."""
    rows = await db.fetch(SQL.lease, most, lease_id, lifetime, share)
    return [Leased(**dict(row)) for row in rows]


async def due(db: Db, webhook_id: UUID, most: int) -> list[Due]:
    return [
        Due(
            row["id"],
            row["attempt_count"] + 1,
            Event(row["event_id"], row["type"], row["organization_id"], row["created_at"], row["payload"]),
        )
        for row in await db.fetch(SQL.due, webhook_id, most)
    ]


async def record(db: Db, one: Attempted) -> None:
    await db.execute(
        SQL.record, one.delivery_id, one.number, one.is_delivered, one.delay, one.started_at,
        one.milliseconds, one.reply.status, one.reply.excerpt, one.reply.error,
    )  # fmt: skip


async def release(
    db: Db,
    webhook_id: UUID,
    lease_id: UUID,
    is_working: bool | None,  # noqa: FBT001 - of three
) -> None:
    await db.execute(SQL.release, webhook_id, lease_id, is_working)


async def disable(db: Db, webhook_id: UUID, reason: str, failing: timedelta) -> Record | None:
    """None when it was disabled already, or has not failed for so long."""
    return await db.fetchrow(SQL.disable, webhook_id, reason, failing)


async def count_waiting(db: Db) -> int:
    return int(await db.fetchval(SQL.count_waiting))


async def prune(db: Db) -> None:
    await db.execute(SQL.end_strays)
    await db.execute(SQL.prune)


async def sealed_ids(db: Db) -> list[UUID]:
    return [row["id"] for row in await db.fetch(SQL.sealed_ids)]


async def lock_secrets(db: Db, webhook_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.lock_secrets, webhook_id)


async def reseal(db: Db, webhook_id: UUID, current: bytes, previous: bytes | None) -> None:
    await db.execute(SQL.reseal, webhook_id, current, previous)


async def owners(db: Db, organization_id: UUID) -> list[Record]:
    return await db.fetch(SQL.owners, organization_id)
