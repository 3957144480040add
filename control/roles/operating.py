"""What the worker does about projects' databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from control.computes.provider import ComputeProvider
from control.postgres import contents, following, founding, limiting, measuring, spending, sweeping
from control.postgres.actions import HANDLERS
from control.postgres.running import Runner
from control.roles.base import Base
from control.roles.patient import repeat
from control.selling import leavings
from gateway.kit.crypto import Keyring
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES, Pool
from gateway.kit.tasks import Crew

SWEEP_SECONDS = 30
COMPARE_SECONDS = 10
MEASURE_SECONDS = 60
LIMIT_SECONDS = 30
# Less than a server takes to fall asleep, so that what was changed by SQL is known when it does.
REFRESH_SECONDS = 15
RETRY_SECONDS = 1

log = structlog.get_logger(__name__)


@asynccontextmanager
async def operating(base: Base) -> AsyncIterator[None]:
    """Run operations and follow servers while the block runs, where there is somebody to run databases."""
    if base.settings.computes.url is None:
        yield
        return
    keyring = Keyring.parse([key.get_secret_value() for key in base.settings.secrets.keys])
    pool, computes = base.pool, base.computes
    crew = Crew()
    crew.start(Runner(pool, computes, keyring, HANDLERS).run())
    crew.start(follow(pool, computes))
    crew.start(repeat("compare_endpoints", COMPARE_SECONDS, partial(following.compare, pool, computes)))
    crew.start(repeat("sweep_branches", SWEEP_SECONDS, partial(sweep, pool, computes, keyring)))
    crew.start(repeat("measure_branches", MEASURE_SECONDS, partial(measure, pool, computes)))
    limit = partial(limiting.limit, pool, computes, base.settings.plans, {})
    crew.start(repeat("limit_disks", LIMIT_SECONDS, limit))
    stop_spent = partial(spending.stop, pool, computes, base.settings.plans)
    crew.start(repeat("stop_computes", LIMIT_SECONDS, stop_spent))
    leavings_of = partial(leavings.drop, pool, computes, keyring)
    crew.start(repeat("drop_sellers", MEASURE_SECONDS, leavings_of))
    crew.start(repeat("refresh_branches", REFRESH_SECONDS, partial(contents.refresh_all, pool, computes)))
    try:
        yield
    finally:
        await crew.close()


async def follow(pool: Pool, computes: ComputeProvider) -> None:
    after: str | None = None
    while True:
        try:
            async for event in computes.events(after):
                await following.note(pool, event)
                after = event.id
        except (Refusal, *OUTAGES) as error:
            # Whoever runs databases is away, or ours is; ``compare`` finds what is missed meanwhile.
            log.warning("computes.not_followed", error=repr(error))
        await asyncio.sleep(RETRY_SECONDS)


async def sweep(pool: Pool, computes: ComputeProvider, keyring: Keyring) -> None:
    founded = await founding.found_missing(pool, keyring)
    expired = await sweeping.expire(pool)
    discarded = await sweeping.discard(pool, computes)
    await sweeping.prune(pool)
    if founded or expired or discarded:
        log.info("job.swept_branches", founded=founded, expired=expired, discarded=discarded)


async def measure(pool: Pool, computes: ComputeProvider) -> None:
    await measuring.measure(pool, computes)
    await measuring.store(pool)
