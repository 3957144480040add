"""Run what is due, several at once and one after the other for each branch, as long as the worker runs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import structlog

from control.computes.provider import ComputeProvider, TimelineBusy
from control.computes.remote import AgentAway
from control.postgres import operations
from control.postgres.operations import Action, Job, LeaseLost, Operation
from gateway.kit import tasks
from gateway.kit.crypto import Keyring
from gateway.kit.problem import Refusal, Unavailable
from gateway.kit.sql import OUTAGES, Db, Pool
from gateway.metering import metrics

AT_ONCE = 8
POLL_SECONDS = 0.25
RENEW_SECONDS = operations.LEASE.total_seconds() / 3
FAILURES_MAX = 8
AWAY = (AgentAway, Unavailable)
AWAY_PAUSE = timedelta(seconds=2)
PAUSE_MAX = timedelta(seconds=60)

log = structlog.get_logger(__name__)


class NotYet(Exception):
    """It waits for another operation, and is tried again soon. That is no failure."""


@dataclass(frozen=True, slots=True)
class Handler:
    run: Callable[[Job], Awaitable[None]]
    """Ends with ``job.finishing()``, unless it raises."""
    give_up: Callable[[Db, Operation, str], Awaitable[None]]
    """What becomes of rows when it has failed for good, in the transaction that says so."""


@dataclass(frozen=True, slots=True)
class Runner:
    pool: Pool
    computes: ComputeProvider
    keyring: Keyring
    handlers: Mapping[Action, Handler]
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        # So that the first failure is an increase: of a series that begins with it, Prometheus sees none.
        for action in self.handlers:
            for outcome in ("finished", "postponed", "failed"):
                metrics.OPERATIONS.labels(action, outcome)

    async def run(self) -> None:
        """Until cancelled; what is half done then is another's at once."""
        crew = tasks.Crew()
        try:
            while True:
                try:
                    found = await operations.lease(self.pool, self.at_once - len(crew.tasks))
                except OUTAGES as error:
                    log.warning("operation.not_leased", error=repr(error))
                    found = []
                for one in found:
                    crew.start(self.turn(one))
                if not found:
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            await crew.close()

    async def drain(self) -> int:
        """Run what is due now, one after the other. Returns how many; for tests and commands."""
        count = 0
        while found := await operations.lease(self.pool, 1):
            for one in found:
                await self.turn(one)
                count += 1
        return count

    async def turn(self, operation: Operation) -> None:
        try:
            error = await self.attempt(operation)
        except asyncio.CancelledError:
            # Whoever runs the next worker need not wait for the lease to end.
            await tasks.finish(
                operations.postpone(self.pool, operation, timedelta(0), is_failure=False, error=None)
            )
            raise
        if error is None:
            metrics.OPERATIONS.labels(operation.action, "finished").inc()
            log.info("operation.finished", operation_id=str(operation.id), action=operation.action)
        elif isinstance(error, LeaseLost):
            log.warning("operation.lost", operation_id=str(operation.id), action=operation.action)
        elif isinstance(error, NotYet):
            delay = timedelta(seconds=POLL_SECONDS)
            await operations.postpone(self.pool, operation, delay, is_failure=False, error=str(error))
        else:
            await self.failed(self.handlers[operation.action], operation, error)

    async def attempt(self, operation: Operation) -> Exception | None:
        error: Exception | None = None
        job = Job(self.pool, self.computes, self.keyring, operation)
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self.renew(operation))
                try:
                    await self.handlers[operation.action].run(job)
                except Exception as raised:
                    # Whatever it is, it is written down with the operation, and what is no outage is logged.
                    error = raised
                finally:
                    renewing.cancel()
        except* LeaseLost:
            error = LeaseLost()
        return error

    async def renew(self, operation: Operation) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if not await operations.renew(self.pool, operation):
                    raise LeaseLost
            except OUTAGES as error:
                log.warning("operation.not_renewed", operation_id=str(operation.id), error=repr(error))

    async def failed(self, handler: Handler, operation: Operation, error: Exception) -> None:
        told = {"operation_id": str(operation.id), "action": operation.action}
        if not isinstance(error, Refusal | asyncpg.PostgresError | OSError | TimeoutError):
            log.error("operation.failed", exc_info=error, **told)
        if isinstance(error, AWAY):
            # Nothing is wrong with what was asked; it waits until somebody is there to do it.
            log.warning("operation.waits", error=repr(error), **told)
            await operations.postpone(self.pool, operation, AWAY_PAUSE, is_failure=False, error=str(error))
            return
        text = str(error) if isinstance(error, Refusal) else "an error of ours; the log says which"
        if is_final(error) or operation.failures_count + 1 >= FAILURES_MAX:
            log.error("operation.given_up", error=repr(error), **told)
            async with self.pool.acquire() as connection, connection.transaction():
                if await operations.fail(connection, operation, text):
                    await handler.give_up(connection, operation, text)
            metrics.OPERATIONS.labels(operation.action, "failed").inc()
            return
        metrics.OPERATIONS.labels(operation.action, "postponed").inc()
        log.warning("operation.postponed", error=repr(error), **told)
        await operations.postpone(
            self.pool, operation, pause(operation.failures_count), is_failure=True, error=text
        )


def is_final(error: Exception) -> bool:
    """Whether trying again would end the same way."""
    return isinstance(error, Refusal) and error.status < 500 and not isinstance(error, TimelineBusy)


def pause(failures_count: int) -> timedelta:
    return min(timedelta(seconds=2**failures_count), PAUSE_MAX)
