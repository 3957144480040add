"""Do what processors told us, as long as the worker runs; and what else outlives a request.

An event is leased to one worker for one attempt. One that dies leaves the lease, which runs out; what it had
done by then is in one transaction, and is not done again.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from control.processors import applying, events, methods, reversals, subscriptions
from control.processors.events import Leased
from control.processors.port import BadSignature, Mismatch, Processors, Provider
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES, Pool
from gateway.metering import metrics

POLL_SECONDS = 1
AT_ONCE = 10
# Well over what an attempt may ask the processor for, retries of the SDK included.
LEASE = timedelta(minutes=5)
FIRST_DELAY_SECONDS = 5
DELAY_SECONDS_MAX = 3600
# About a day; then the operator sees it as failed, and retries it.
ATTEMPTS_MAX = 28
CHORES_SECONDS = 15

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Clerk:
    pool: Pool
    processors: Processors

    async def run(self) -> None:
        """Until cancelled: what is cut off is leased for a while, and then tried again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.read())
            group.create_task(self.tidy())

    async def read(self) -> None:
        while True:
            try:
                is_more = await self.turn() == AT_ONCE
            except Exception:
                # The database is away, say: what is due stays due, and so does what was in hand.
                log.exception("payment_events.not_read")
                is_more = False
            if not is_more:
                await asyncio.sleep(POLL_SECONDS)

    async def tidy(self) -> None:
        while True:
            try:
                await reversals.collect(self.pool)
                if self.processors.stripe is not None:
                    await methods.detach(self.pool, self.processors.stripe)
                if self.processors.polar is not None:
                    await subscriptions.look_again(self.pool, self.processors.polar)
            except Exception:
                log.exception("card_payments.not_tidied")
            await asyncio.sleep(CHORES_SECONDS)

    async def turn(self) -> int:
        """Take what is due, and attempt it side by side."""
        leased = await events.lease(self.pool, AT_ONCE, LEASE, self.known())
        async with asyncio.TaskGroup() as group:
            for one in leased:
                group.create_task(self.attempt(one))
        return len(leased)

    def known(self) -> list[Provider]:
        """What came from a processor that is not in the settings waits until it is again."""
        return [one.provider for one in (self.processors.stripe, self.processors.polar) if one is not None]

    async def attempt(self, leased: Leased) -> None:
        try:
            note = await applying.apply(self.pool, self.processors, leased.provider, leased.body.encode())
            await self.end(leased, "done" if note is None else "ignored", note)
        except (Mismatch, BadSignature) as error:
            # Trying again would find the same: somebody has to look at it.
            log.error("payment_event.mismatch", id=str(leased.id), reason=str(error))
            await self.end(leased, "failed", str(error))
        except Refusal as error:
            await self.postpone(leased, str(error))
        except Exception as error:
            # A bug, or the database away: the money is not lost, and the event is tried again.
            log.exception("payment_event.failed", id=str(leased.id))
            await self.postpone(leased, type(error).__name__)

    async def end(self, leased: Leased, state: events.State, note: str | None) -> None:
        await events.finish(self.pool, leased, state, note)
        metrics.PAYMENT_EVENTS.labels(leased.provider, state).inc()

    async def postpone(self, leased: Leased, note: str) -> None:
        if leased.attempts >= ATTEMPTS_MAX:
            await self.end(leased, "failed", note)
            return
        seconds = min(DELAY_SECONDS_MAX, FIRST_DELAY_SECONDS * 2 ** (leased.attempts - 1))
        try:
            await events.postpone(self.pool, leased, timedelta(seconds=seconds), note)
        except OUTAGES:
            # Its lease runs out by itself.
            log.warning("payment_event.not_postponed", id=str(leased.id))
        metrics.PAYMENT_EVENTS.labels(leased.provider, "postponed").inc()
