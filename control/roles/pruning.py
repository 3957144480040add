"""What is not needed any more, table by table: the worker asks every few seconds."""

from datetime import timedelta

from config.settings import Settings
from control.api import idempotency
from control.giving import claims
from control.identity import links, sessions
from control.mail import outbox
from control.oauth import store as oauth
from control.processors import events as payment_events
from control.reconciling import runs
from control.webhooks import store as webhooks
from gateway import snapshot
from gateway.answers import store as kept_answers
from gateway.kit.sql import Pool
from gateway.ledger import events
from gateway.rails import passthrough


async def prune(pool: Pool, settings: Settings) -> None:
    await snapshot.prune(pool)
    kept = timedelta(hours=settings.idempotency.keep_hours)
    await kept_answers.prune(pool, kept)
    await passthrough.prune(pool, kept)
    await idempotency.prune(pool, kept)
    await events.prune(pool, timedelta(days=settings.webhooks.keep_days))
    await webhooks.prune(pool)
    await payment_events.prune(pool, timedelta(days=settings.card_payments.keep_days))
    await oauth.prune(pool)
    await sessions.prune(pool)
    await links.prune(pool)
    await outbox.prune(pool)
    await runs.prune(pool)
    await claims.prune(pool)
