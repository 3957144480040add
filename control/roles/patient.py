"""What may take the worker long, so that nothing else waits: adding usage up, and comparing the books."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog

from config.settings import Settings
from control.metering import meters, rollups
from control.reconciling import runs
from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew

ADD_SECONDS = 5
LOOK_SECONDS = 60

log = structlog.get_logger(__name__)


@asynccontextmanager
async def patiently(pool: Pool, settings: Settings) -> AsyncIterator[None]:
    """Keep at it while the block runs."""
    crew = Crew()
    crew.start(repeat("roll_up", ADD_SECONDS, partial(roll_up, pool)))
    # The books once a day, when the hour has come.
    crew.start(repeat("compare_books", LOOK_SECONDS, partial(runs.tonight, pool, settings)))
    try:
        yield
    finally:
        await crew.close()


async def repeat(job: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        # Not at once: whoever starts has other things to do.
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:
            log.exception("job.failed", job=job)


async def roll_up(pool: Pool) -> None:
    await rollups.roll_up(pool)
    await meters.advance(pool)
