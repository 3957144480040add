"""Do what nobody waits for."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog

from config.settings import Settings
from control.invoicing import drafting, monthly, reminding
from control.mail import outbox
from control.metering import rollups
from control.postgres import endpoints, operations
from control.processors import events as payment_events
from control.processors import reversals
from control.quotas import headroom
from control.reconciling import runs
from control.referral import jobs as referrals
from control.roles import pruning
from control.roles.base import Base, based
from control.roles.charging import clerking
from control.roles.delivering import delivering
from control.roles.operating import operating
from control.roles.patient import patiently
from control.webhooks import store as webhooks
from gateway.ledger import grants, holds, purses
from gateway.metering import gauges, metrics
from gateway.x402 import bookings, finality, payments
from gateway.x402 import payouts as sending

SWEEP_SECONDS = 5
# Younger ones are about to be booked by who wrote them, and who tells that a balance is low.
SLIP_AGE = timedelta(seconds=2)
RECONCILE_AGE = timedelta(seconds=10)
RECHECK_AGE = timedelta(seconds=60)
# For so long a crowd of them is looked at, before the other jobs have their turn again.
RECHECK_SECONDS = 5

log = structlog.get_logger(__name__)


async def work(settings: Settings, *, on_ready: Callable[[], None]) -> None:
    """Close what dead processes left open and finish what is pending, until cancelled."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(based(settings, settings.public_url or "http://localhost"))
        await stack.enter_async_context(delivering(base.pool, settings))
        await stack.enter_async_context(patiently(base.pool, settings))
        await stack.enter_async_context(clerking(base.pool, settings))
        await stack.enter_async_context(operating(base))
        on_ready()
        while True:
            for job in (sweep, promote, reconcile, recheck, pay_out, prune, watch, bill, remind, measure):
                try:
                    await job(base)
                except Exception:
                    # A job that fails now, because the database is away say, is due again in a moment.
                    log.exception("job.failed", job=job.__name__)
            metrics.JOBS_RAN.set_to_current_time()
            await asyncio.sleep(SWEEP_SECONDS)


async def sweep(base: Base) -> None:
    voided = await holds.void_expired(base.pool)
    returned = await purses.return_expired(base.pool, slip_age=SLIP_AGE)
    await bookings.book_left_over(base.ledger, SLIP_AGE)
    abandoned = await payments.abandon(base.pool, base.call_lifetime)
    if voided or returned or abandoned:
        log.info("job.swept", holds=voided, purses=returned, payments=abandoned)


async def promote(base: Base) -> None:
    expired = await grants.expire(base.pool)
    rewarded = await referrals.reward(base.pool, base.settings)
    if expired or rewarded:
        log.info("job.promoted", grants_expired=expired, referrals_rewarded=rewarded)


async def reconcile(base: Base) -> None:
    if finished := await base.settlements.reconcile(RECONCILE_AGE + base.settle_lifetime):
        log.info("job.reconciled", payments=finished)


async def recheck(base: Base) -> None:
    ends_seconds = time.monotonic() + RECHECK_SECONDS
    while await finality.recheck(base.settlements, RECHECK_AGE) == finality.BATCH:
        if time.monotonic() > ends_seconds:
            return


async def pay_out(base: Base) -> None:
    await sending.work(base.pool, base.settlements.facilitators)


async def prune(base: Base) -> None:
    await pruning.prune(base.pool, base.settings)


async def watch(base: Base) -> None:
    await headroom.watch(base.pool, base.settings.plans)


async def bill(base: Base) -> None:
    settings = base.settings
    if settings.invoicing.is_automatic:
        terms = drafting.terms(settings.plans, settings.networks, settings.invoicing)
        if count := await monthly.bill(base.pool, terms):
            log.info("job.billed", organizations=count)


async def remind(base: Base) -> None:
    if count := await reminding.remind(base.pool, base.settings.invoicing):
        log.info("job.reminded", invoices=count)


async def measure(base: Base) -> None:
    gauges.look_at_pools([base.pool])
    await gauges.look_at_money(base.pool, [network.id for network in base.settings.networks])
    await gauges.look_at_payouts(base.pool)
    await gauges.look_at_promotions(base.pool, base.settings)
    metrics.WEBHOOKS_WAITING.set(await webhooks.count_waiting(base.pool))
    metrics.PAYMENT_EVENTS_WAITING.set((counted := await payment_events.counts(base.pool))[0])
    metrics.PAYMENT_EVENTS_FAILED.set(counted[1])
    metrics.CARD_DEBTS.set(await reversals.count(base.pool))
    metrics.INVOICES_FAILING.set(await monthly.count_failures(base.pool))
    metrics.INVOICES_OVERDUE.set(await reminding.count_overdue(base.pool))
    waiting, failed = await outbox.count(base.pool)
    metrics.MAILS_WAITING.set(waiting)
    metrics.MAILS_FAILED.set(failed)
    metrics.ROLLUP_SECONDS.set(await rollups.age_seconds(base.pool) or 0)
    await runs.measure(base.pool)
    count, age = await operations.count_open(base.pool)
    metrics.OPERATIONS_OPEN.set(count)
    metrics.OPERATIONS_OPEN_SECONDS.set(age)
    for state, number in (await endpoints.states(base.pool)).items():
        metrics.COMPUTES.labels(state).set(number)
