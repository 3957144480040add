"""What the worker does once a day, beside what it does every few seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from config.settings import Settings
from control.processors.port import Processors
from control.reconciling import runs
from control.roles.charging import charging
from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew

LOOK_SECONDS = 60

log = structlog.get_logger(__name__)


@asynccontextmanager
async def nightly(pool: Pool, settings: Settings) -> AsyncIterator[None]:
    """Compare the books while the block runs, when the hour has come."""
    crew = Crew()
    async with charging(settings) as processors:
        crew.start(compare_forever(pool, settings, processors))
        try:
            yield
        finally:
            await crew.close()


async def compare_forever(pool: Pool, settings: Settings, processors: Processors) -> None:
    while True:
        # Not at once: whoever starts has other things to do.
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await runs.tonight(pool, settings, processors)
        except Exception:
            log.exception("job.failed", job="reconcile")
