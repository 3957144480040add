"""All comparisons, one after another, and what is remembered of them."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from config.settings import Settings
from control.processors.port import Processors
from control.reconciling import books, cards, chain, unmade
from control.reconciling.checks import Report, Result
from gateway.kit import ids
from gateway.kit.sql import Pool, Statements
from gateway.metering import metrics

SQL = Statements(__file__)

# Each payment is looked at by several nights, and a node is not asked for the whole past in each.
NIGHTLY = timedelta(days=3)

log = structlog.get_logger(__name__)


async def compare(
    pool: Pool, settings: Settings, processors: Processors, lately: timedelta
) -> AsyncIterator[Result]:
    async for result in books.compare(pool):
        yield result
    yield await unmade.compare(pool, settings)
    async for result in chain.compare(pool, settings.networks, lately):
        yield result
    async for result in cards.compare(pool, processors, lately):
        yield result


async def begin(pool: Pool) -> UUID:
    """A run that somebody asked for."""
    run_id = ids.new()
    await pool.execute(SQL.begin, run_id)
    return run_id


async def finish(pool: Pool, run_id: UUID, report: Report) -> None:
    told = [asdict(one) for one in report.results]
    await pool.execute(SQL.finish, run_id, told, report.differences, report.obstacles)


async def tonight(pool: Pool, settings: Settings, processors: Processors) -> Report | None:
    """Make tonight's run, unless it is too early or somebody makes it or made it: then None."""
    now = datetime.now(UTC)
    if now.hour < settings.reconcile.hour:
        return None
    run_id = await pool.fetchval(SQL.take, ids.new(), now.date())
    if run_id is None:
        return None
    report = Report(tuple([one async for one in compare(pool, settings, processors, NIGHTLY)]))
    await finish(pool, run_id, report)
    for result in report.results:
        for one in result.differences:
            log.error("reconcile.difference", check=result.name, **asdict(one))
        if result.obstacle is not None:
            log.error("reconcile.not_compared", check=result.name, reason=result.obstacle)
    log.info("reconcile.done", differences=report.differences, not_compared=report.obstacles)
    return report


async def measure(pool: Pool) -> None:
    """What Prometheus is told: of the last run, whoever made it."""
    row = await pool.fetchrow(SQL.latest)
    assert row is not None, "the platform is an organization from the first migration on"
    metrics.RECONCILE_AGE.set(row["age_seconds"])
    metrics.RECONCILE_DIFFERENCES.set(row["differences"])
    metrics.RECONCILE_OBSTACLES.set(row["obstacles"])


async def prune(pool: Pool) -> None:
    await pool.execute(SQL.prune)
