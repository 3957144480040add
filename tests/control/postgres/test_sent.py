"""What clients were sent is counted while a server runs, and each byte once."""

import asyncio
from datetime import UTC, datetime

import pytest

from control.computes.local import LocalProvider
from control.computes.provider import ComputeEvent
from control.postgres import connecting, following, sweeping
from control.postgres.running import Runner
from gateway.kit.sql import Pool
from tests.control.postgres.conftest import Project


async def counted(pool: Pool) -> int:
    found = await pool.fetchval("SELECT sum(quantity) FROM meter_days WHERE meter = 'egress_bytes'")
    return int(found or 0)


async def later(pool: Pool) -> None:
    await pool.execute("UPDATE egress_runs SET updated_at = now() - interval '6 minutes'")


def last(computes: LocalProvider) -> ComputeEvent:
    return computes.bulletin.kept[-1][1]


@pytest.fixture
async def endpoint(pool: Pool, computes: LocalProvider, runner: Runner, project: Project) -> str:
    await runner.drain()
    await connecting.wake(pool, computes, project.endpoint_id)
    return str(project.endpoint_id)


async def test_bytes_count_while_a_server_runs_and_once(
    pool: Pool, computes: LocalProvider, endpoint: str
) -> None:
    computes.traffic(endpoint, sent=100, received=7)
    await asyncio.gather(*(following.compare(pool, computes) for _ in range(4)))
    assert await counted(pool) == 100
    computes.traffic(endpoint, sent=30)
    await following.compare(pool, computes)
    # Not at each look: a row each time would be many.
    assert await counted(pool) == 100
    await later(pool)
    await following.compare(pool, computes)
    assert await counted(pool) == 130
    computes.traffic(endpoint, sent=20)
    await computes.stop(endpoint)
    stopped = last(computes)
    await asyncio.gather(*(following.note(pool, stopped) for _ in range(4)))
    assert await counted(pool) == 150
    # Another run begins at nothing, and news of the one before that comes again changes nothing.
    await computes.start(endpoint, stopped.timeline, connecting.VISIT)
    await following.note(pool, last(computes))
    computes.traffic(endpoint, sent=5)
    await later(pool)
    await following.compare(pool, computes)
    await following.note(pool, stopped)
    assert await counted(pool) == 155


async def test_news_of_a_run_that_was_pruned_count_nothing(
    pool: Pool, computes: LocalProvider, endpoint: str
) -> None:
    computes.traffic(endpoint, sent=100)
    await computes.stop(endpoint)
    stopped = last(computes)
    await following.note(pool, stopped)
    await pool.execute("UPDATE egress_runs SET updated_at = now() - interval '31 days'")
    await sweeping.prune(pool)
    # The last one stays, as it may go on.
    assert await pool.fetchval("SELECT count(*) FROM egress_runs") == 1
    newer = "INSERT INTO egress_runs SELECT endpoint_id, $1, 0 FROM egress_runs"
    await pool.execute(newer, datetime.now(UTC))
    await sweeping.prune(pool)
    assert await pool.fetchval("SELECT counted FROM egress_runs") == 0
    await following.note(pool, stopped)
    assert await counted(pool) == 100
