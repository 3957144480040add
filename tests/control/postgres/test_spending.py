"""Computes of an organization whose quota is used up are stopped, and nobody else's."""

import asyncio

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from config.plans import Plan
from control.computes.local import LocalProvider
from control.computes.provider import ComputeUnavailable, State
from control.postgres import connecting, spending
from control.postgres.running import Runner
from control.roles.facts import Facts
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool
from gateway.pgwire.computes import NotAllowed
from tests.control.postgres.conftest import Project, founded

SMALL = Plan(id="small", name="Small", quotas={"compute_seconds": 100})
SOFT = Plan(id="soft", name="Soft", quotas=SMALL.quotas, soft=("compute_seconds",))
FREE = Plan(id="free", name="Free")


async def use(pool: Pool, project: Project, seconds: int) -> None:
    await pool.execute(
        "INSERT INTO meter_days (organization_id, project_id, meter, compute_units, day, quantity) "
        "SELECT organization_id, id, 'active_seconds', 1, (now() AT TIME ZONE 'UTC')::date, $1 "
        "FROM projects WHERE id = $2 ON CONFLICT (project_id, day, meter, compute_units, organization_id) "
        "DO UPDATE SET quantity = EXCLUDED.quantity",
        seconds, project.id,
    )  # fmt: skip


async def state_of(pool: Pool, computes: LocalProvider, project: Project) -> tuple[State, str]:
    """As whoever runs it has it, and as its row has it."""
    status = await pool.fetchval("SELECT status FROM endpoints WHERE id = $1", project.endpoint_id)
    return (await computes.status(str(project.endpoint_id))).state, status


async def test_what_runs_is_stopped_when_the_quota_is_used_up_and_others_run_on(
    pool: Pool, computes: LocalProvider, runner: Runner, keyring: Keyring, project: Project
) -> None:
    other = await founded(pool, keyring)
    await runner.drain()
    owner = await connecting.owner_of(pool, computes, keyring, project.branch_id)
    way = make_conninfo(
        host=str(owner.address.sockets), user=owner.name, password=owner.password, dbname="app"
    )
    async with (
        await psycopg.AsyncConnection.connect(way) as client,
        connecting.as_owner(pool, computes, keyring, other.branch_id, "app") as theirs,
    ):
        await use(pool, other, 99)
        for seconds, plans in ((99, [SMALL]), (500, [SOFT]), (500, [FREE])):
            await use(pool, project, seconds)
            assert await spending.stop(pool, computes, plans) == 0
        with capture_logs() as lines:
            told, stopped = await asyncio.gather(
                client.execute("SELECT pg_sleep(60)"), spending.stop(pool, computes, [SMALL]),
                return_exceptions=True,
            )  # fmt: skip
        assert (type(told), stopped) == (psycopg.errors.AdminShutdown, 1)
        assert await theirs.fetchval("SELECT 1") == 1
    assert await state_of(pool, computes, project) == (State.IDLE, "idle")
    assert await state_of(pool, computes, other) == (State.ACTIVE, "active")
    (line,) = [one for one in lines if one["event"] == "endpoint.stopped_for_quota"]
    assert (line["endpoint_id"], line["reason"]) == (
        str(project.endpoint_id), "the plan Small has room for 100 compute_seconds, and they are used",
    )  # fmt: skip
    # Its seconds ended with it, and there is nothing left to stop.
    assert await pool.fetchval("SELECT count(*) FROM compute_runs") == 1
    assert await spending.stop(pool, computes, [SMALL]) == 0


async def test_what_an_operation_is_at_work_in_is_stopped_after_it(
    pool: Pool, computes: LocalProvider, runner: Runner, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runner.drain()
    await connecting.wake(pool, computes, project.endpoint_id)
    await use(pool, project, 100)
    await pool.execute("UPDATE operations SET status = 'running'")
    assert await spending.stop(pool, computes, [SMALL]) == 0
    await pool.execute("UPDATE operations SET status = 'finished'")

    async def away(endpoint: str) -> None:
        raise ComputeUnavailable("nobody there")

    with monkeypatch.context() as patched:
        patched.setattr(LocalProvider, "stop", staticmethod(away))
        assert await spending.stop(pool, computes, [SMALL]) == 0
    assert await state_of(pool, computes, project) == (State.ACTIVE, "active")
    assert await spending.stop(pool, computes, [SMALL]) == 1


async def test_who_comes_again_is_told_why(
    pool: Pool, computes: LocalProvider, runner: Runner, project: Project
) -> None:
    await runner.drain()
    facts = Facts(pool, computes, [SMALL])
    label = await pool.fetchval("SELECT label FROM endpoints WHERE id = $1", project.endpoint_id)
    found = await facts.find(label)
    assert found is not None
    await facts.wake(found)
    await use(pool, project, 100)
    assert await spending.stop(pool, computes, [SMALL]) == 1
    with pytest.raises(NotAllowed, match="the plan Small has room for 100 compute_seconds"):
        await facts.wake(found)
    await facts.close()
