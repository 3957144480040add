"""Deliver what is due, as long as the worker runs; and what else outlives a request.

A webhook is leased to one worker for one turn, in which up to ten of its deliveries are sent at once. So a
slow receiver waits for itself only, workers share the webhooks and never a delivery, and what a worker that
died had in hand is due again when its lease runs out.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from control.mail import outbox
from control.webhooks import letters, rules, store
from control.webhooks.store import Attempted, Due, Leased
from gateway.kit import crypto, ids, tasks
from gateway.kit.crypto import CannotOpen, Keyring
from gateway.kit.post import Post, Reply
from gateway.kit.sql import Pool
from gateway.ledger import events
from gateway.metering import metrics

TIMEOUT_SECONDS = 15
# A turn is one round of attempts, and is over well before this.
LEASE = timedelta(seconds=2 * TIMEOUT_SECONDS)
WEBHOOKS_AT_ONCE = 20
# One organization has half of them at most: the rest is for the next that has something due.
SHARE = 2
DELIVERIES_AT_ONCE = 10
POLL_SECONDS = 1
LETTER_LIFETIME = timedelta(days=3)
DRAIN_SECONDS = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Deliverer:
    pool: Pool
    keyring: Keyring
    post: Post
    lease: timedelta = LEASE
    webhooks_at_once: int = WEBHOOKS_AT_ONCE

    async def run(self) -> None:
        """Until cancelled; then what is being sent has a moment to end."""
        turns: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            try:
                await self.lead(group, turns)
            finally:
                if turns:
                    await asyncio.wait(turns, timeout=DRAIN_SECONDS)

    async def lead(self, group: asyncio.TaskGroup, turns: set[asyncio.Task[None]]) -> None:
        while True:
            leased = await self.take(self.webhooks_at_once - len(turns))
            for lease_id, one in leased:
                turn = group.create_task(self.turn(lease_id, one))
                turns.add(turn)
                turn.add_done_callback(turns.discard)
            # Whatever is due as soon as a webhook is free again is taken as soon as that.
            await wait(turns, 0 if leased and len(turns) < self.webhooks_at_once else POLL_SECONDS)

    async def take(self, most: int) -> list[tuple[UUID, Leased]]:
        if most <= 0:
            return []
        lease_id = ids.new()
        try:
            share = max(1, self.webhooks_at_once // SHARE)
            leased = await store.lease(self.pool, most, lease_id, self.lease, share)
            return [(lease_id, one) for one in leased]
        except Exception:
            # The database is away, say; what is due stays due.
            log.exception("webhooks.not_leased")
            return []

    async def turn(self, lease_id: UUID, webhook: Leased) -> None:
        """Attempt what is due at one webhook, give it back, and give it up if that is due as well."""
        try:
            attempted = await self.attempt_all(webhook)
            is_working = any(one.is_delivered for one in attempted) if attempted else None
            await store.release(self.pool, webhook.id, lease_id, is_working)
            if (reason := ended(attempted)) is not None:
                await self.disable(webhook.id, reason)
        except asyncio.CancelledError:
            # What was not recorded is due at once, to whoever comes next.
            await tasks.finish(store.release(self.pool, webhook.id, lease_id, None))
            raise
        except Exception:
            # The lease stays until it runs out: what fails for a reason of ours is not tried in a circle.
            log.exception("webhook.turn_failed", webhook_id=str(webhook.id))

    async def attempt_all(self, webhook: Leased) -> list[Attempted]:
        due = await store.due(self.pool, webhook.id, DELIVERIES_AT_ONCE)
        signing = secrets_of(webhook, self.keyring)
        async with asyncio.TaskGroup() as group:
            sending = [group.create_task(self.attempt(webhook.url, signing, one)) for one in due]
        return [one.result() for one in sending]

    async def attempt(self, url: str, signing: list[str], due: Due) -> Attempted:
        started, clock = datetime.now(UTC), time.monotonic()
        body = rules.body_of(due.event)
        if signing:
            reply = await self.post(url, rules.headers_of(due.event.id, body, signing, started), body)
        else:
            reply = Reply(None, error="the webhook's secret cannot be read any more: make a new one")
        milliseconds = round(1000 * (time.monotonic() - clock))
        is_last = rules.is_success(reply.status) or reply.status == rules.GONE
        delay = None if is_last else rules.delay_after(due.attempt, reply.retry_after, datetime.now(UTC))
        attempted = Attempted(due.id, due.attempt, started, milliseconds, reply, delay)
        await tasks.finish(store.record(self.pool, attempted))
        metrics.WEBHOOK_ATTEMPTS.labels(outcome(attempted)).inc()
        return attempted

    async def disable(self, webhook_id: UUID, reason: str) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            row = await store.disable(connection, webhook_id, reason, rules.FAILING_MAX)
            if row is not None:
                told = {
                    "webhook_id": str(webhook_id),
                    "name": row["name"],
                    "url": row["url"],
                    "reason": reason,
                }
                await events.emit(connection, row["organization_id"], "webhook.disabled", told)
                for one in await store.owners(connection, row["organization_id"]):
                    letter = letters.disabled(
                        one["name"], one["organization"], row["name"], row["url"], reason
                    )
                    await outbox.post(connection, one["email"], letter, LETTER_LIFETIME)


def ended(attempted: list[Attempted]) -> str | None:
    """Why the webhook may be given up after these attempts."""
    if any(one.reply.status == rules.GONE for one in attempted):
        return "gone"
    is_given_up = any(one.delay is None and not one.is_delivered for one in attempted)
    return "failing" if is_given_up else None


def outcome(attempted: Attempted) -> str:
    if attempted.is_delivered:
        return "delivered"
    return "given_up" if attempted.delay is None else "failed"


def secrets_of(webhook: Leased, keyring: Keyring) -> list[str]:
    """The newest first. One whose key was taken out of the settings signs nothing."""
    place = crypto.context(webhook.organization_id, webhook.id)
    secrets = []
    for sealed in filter(None, (webhook.secret_sealed, webhook.previous_sealed)):
        try:
            secrets.append(keyring.open(sealed, place).decode())
        except CannotOpen:
            log.warning("webhook.secret_lost", webhook_id=str(webhook.id))
    return secrets


async def wait(turns: set[asyncio.Task[None]], seconds: float) -> None:
    if turns:
        await asyncio.wait(turns, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    else:
        await asyncio.sleep(seconds)


async def reseal(pool: Pool, keyring: Keyring) -> int:
    """Encrypt again what an older key sealed, each row in its own transaction. Returns how many."""
    count = 0
    for webhook_id in await store.sealed_ids(pool):
        async with pool.acquire() as connection, connection.transaction():
            row = await store.lock_secrets(connection, webhook_id)
            if row is None:
                continue
            place = crypto.context(row["organization_id"], webhook_id)
            current, previous = row["secret_sealed"], row["previous_sealed"]
            if all(one is None or keyring.is_current(one) for one in (current, previous)):
                continue
            current = keyring.seal(keyring.open(current, place), place)
            if previous is not None:
                previous = keyring.seal(keyring.open(previous, place), place)
            await store.reseal(connection, webhook_id, current, previous)
            count += 1
    return count
