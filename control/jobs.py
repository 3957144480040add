"""What nobody waits for: each job closes, finishes, forgets or measures what is due, again and again."""

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from control.api import idempotency
from gateway import snapshot
from gateway.answers import store as answers
from gateway.ledger import holds
from gateway.metering import gauges
from gateway.x402 import finality, payments

if TYPE_CHECKING:
    from control.roles import Base

RECONCILE_AGE = timedelta(seconds=10)
RECHECK_AGE = timedelta(seconds=60)
# One after the other, before the other jobs have their turn again.
RECHECK_BATCHES = 20

log = structlog.get_logger(__name__)


async def sweep(base: "Base") -> None:
    voided = await holds.void_expired(base.pool)
    abandoned = await payments.abandon(base.pool, base.call_lifetime)
    if voided or abandoned:
        log.info("job.swept", holds=voided, payments=abandoned)


async def reconcile(base: "Base") -> None:
    if finished := await base.settlements.reconcile(RECONCILE_AGE + base.settle_lifetime):
        log.info("job.reconciled", payments=finished)


async def recheck(base: "Base") -> None:
    for _ in range(RECHECK_BATCHES):
        if await finality.recheck(base.settlements, RECHECK_AGE) < finality.BATCH:
            return


async def prune(base: "Base") -> None:
    await snapshot.prune(base.pool)
    kept = timedelta(hours=base.settings.idempotency.keep_hours)
    await answers.prune(base.pool, kept)
    await idempotency.prune(base.pool, kept)


async def measure(base: "Base") -> None:
    gauges.look_at_pool(base.pool)
    await gauges.look_at_money(base.pool, [network.id for network in base.settings.networks])


JOBS = (sweep, reconcile, recheck, prune, measure)
