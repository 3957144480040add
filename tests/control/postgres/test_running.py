"""Runners beside each other, clients meanwhile, and providers that are away."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from control.computes.local import LocalProvider
from control.computes.nowhere import NoProvider
from control.computes.provider import HEAD, ComputeUnavailable
from control.postgres import asking, connecting, following, operations
from control.postgres.branches import NewBranch
from control.postgres.endpoints import NewEndpoint
from control.postgres.running import FAILURES_MAX, Runner
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES, Pool
from gateway.kit.tasks import Crew
from tests.control.postgres.conftest import Project
from tests.control.postgres.test_swapping import Shop, shop

__all__ = ["shop"]

OPEN = "SELECT count(*) FROM operations WHERE status IN ('scheduling', 'running')"


async def ended(pool: Pool) -> None:
    async with asyncio.timeout(60):
        while await pool.fetchval(OPEN):  # noqa: ASYNC110 - runners tell nobody but the rows
            await asyncio.sleep(0.05)


async def test_runners_share_the_work_and_keep_its_order(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = LocalProvider.create_timeline

    async def counted(self: LocalProvider, timeline: str, *arguments: Any) -> Any:
        made.append(timeline)
        return await real(self, timeline, *arguments)

    monkeypatch.setattr(LocalProvider, "create_timeline", counted)
    names = ("one", "two", "three")
    for name in names:
        async with shop.asker() as asker:
            new = NewBranch(shop.project.id, name, shop.project.id, shop.project.user_id)
            done = await asking.create(
                asker,
                shop.runner.keyring,
                shop.project.branch_id,
                new,
                [NewEndpoint()],
                HEAD,
                is_archived=False,
            )
            await asking.reset(asker, done.branch_id)
    crew = Crew()
    for _ in range(3):
        crew.start(shop.runner.run())
    await ended(shop.pool)
    await crew.close()
    rows = await shop.pool.fetch("SELECT status, failures_count FROM operations")
    assert {tuple(row) for row in rows} == {("finished", 0)}
    assert len(made) == len(set(made)) == 2 * len(names)
    in_order = await shop.pool.fetch(
        "SELECT array_agg(action ORDER BY finished_at) AS actions FROM operations "
        "WHERE branch_id <> $1 GROUP BY branch_id", shop.project.branch_id
    )  # fmt: skip
    assert {tuple(row["actions"]) for row in in_order} == {("create_branch", "reset_branch")}


async def test_a_runner_that_is_stopped_leaves_its_work_to_the_next(
    pool: Pool, runner: Runner, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def slow(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(LocalProvider, "stat", slow)
    crew = Crew()
    crew.start(runner.run())
    await begun.wait()
    await crew.close()
    row = await pool.fetchrow("SELECT status, leased_until, failures_count FROM operations")
    assert row is not None
    assert tuple(row) == ("scheduling", None, 0)
    monkeypatch.undo()
    assert await runner.drain() == 1
    assert await pool.fetchval("SELECT state FROM branches") == "ready"


async def test_clients_meanwhile_see_the_old_or_the_new_and_afterwards_the_new(shop: Shop) -> None:
    child = await shop.branch("child")
    await shop.write(7, child)
    await shop.write(2)
    seen: list[list[int]] = []

    async def come() -> None:
        # What is ended by the swap is told so; whoever comes then waits for it.
        while True:
            with suppress(asyncpg.PostgresError, *OUTAGES, Refusal):
                seen.append(await shop.numbers(child))

    crew = Crew()
    for _ in range(4):
        crew.start(come())
    async with shop.asker() as asker:
        await asking.reset(asker, child)
    assert await shop.runner.drain() == 1
    before = len(seen)
    while len(seen) < before + 8:  # noqa: ASYNC110 - eight more clients, in their time
        await asyncio.sleep(0.01)
    await crew.close()
    assert {tuple(one) for one in seen} <= {(1, 7), (1, 2)}
    # Of those that had begun before the end, four may have been on their way.
    assert {tuple(one) for one in seen[before + 4 :]} == {(1, 2)}
    assert await shop.pool.fetchval("SELECT count(*) FROM compute_runs") == 2


async def test_what_cannot_start_is_tried_again_and_given_up(
    pool: Pool, runner: Runner, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise ComputeUnavailable("the disk is full")

    monkeypatch.setattr(LocalProvider, "create_timeline", broken)
    for _ in range(FAILURES_MAX):
        assert await runner.drain() == 1
        await pool.execute("UPDATE operations SET due_at = now()")
    row = await pool.fetchrow("SELECT status, failures_count, error FROM operations")
    assert row is not None
    assert tuple(row) == ("failed", FAILURES_MAX, "the disk is full")
    assert await pool.fetchval("SELECT state FROM branches") == "failed"
    with pytest.raises(connecting.BranchUnusable):
        await connecting.wake(pool, runner.computes, project.endpoint_id)


async def test_who_is_away_is_waited_for(pool: Pool, runner: Runner, project: Project) -> None:
    away = replace(runner, computes=NoProvider())
    for _ in range(FAILURES_MAX + 1):
        assert await away.drain() == 1
        await pool.execute("UPDATE operations SET due_at = now()")
    assert await pool.fetchval("SELECT failures_count FROM operations") == 0
    assert await runner.drain() == 1
    assert await pool.fetchval("SELECT state FROM branches") == "ready"


async def test_settings_reach_what_runs(shop: Shop) -> None:
    before = {"history_retention_seconds": 21_600, "enable_logical_replication": False}
    after = {"history_retention_seconds": 7200, "enable_logical_replication": True}
    async with shop.asker() as asker:
        await asking.settle(asker, before, after)
        await asker.db.execute(
            "UPDATE projects SET history_retention_seconds = 7200, enable_logical_replication = true"
        )
    assert await shop.runner.drain() == 2
    (timeline,) = await shop.timelines()
    assert shop.computes.store.place(timeline).record().retention_seconds == 7200
    async with shop.owner() as owner:
        assert await owner.fetchval("SHOW wal_level") == "logical"


async def test_news_that_come_late_change_nothing(shop: Shop) -> None:
    await shop.computes.stop(str(shop.project.endpoint_id))
    await connecting.wake(shop.pool, shop.computes, shop.project.endpoint_id)
    (*_, stopped, _) = [event for _, event in list(shop.computes.bulletin.kept)]
    assert stopped.kind == "stopped"
    # The row was active all along, and is: whoever woke it said so later.
    await shop.pool.execute("UPDATE endpoints SET status_at = now()")
    await following.note(shop.pool, stopped)
    assert await shop.pool.fetchval("SELECT status FROM endpoints") == "active"
    assert await following.compare(shop.pool, shop.computes) == 0
    await shop.computes.stop_all()
    await shop.pool.execute("UPDATE endpoints SET status_at = now() - interval '1 minute'")
    assert await following.compare(shop.pool, shop.computes) == 1
    assert await shop.pool.fetchval("SELECT count(*) FROM compute_runs") == 0


async def test_an_endpoint_that_somebody_stopped_is_not_woken(shop: Shop) -> None:
    await shop.pool.execute("UPDATE endpoints SET is_disabled = true")
    await shop.computes.stop_all()
    with pytest.raises(connecting.EndpointStopped):
        await connecting.wake(shop.pool, shop.computes, shop.project.endpoint_id)
    # Rooms have their own way in.
    async with connecting.admin(shop.pool, shop.computes, shop.project.branch_id, "app") as admin:
        assert await admin.fetchval("SELECT n FROM public.kept") == 1
    assert (await shop.computes.status(str(shop.project.endpoint_id))).state == "idle"
    await operations.enqueue(
        shop.pool,
        "start_compute",
        shop.project.id,
        shop.project.branch_id,
        endpoint_id=shop.project.endpoint_id,
    )
    await shop.runner.drain()
    assert await shop.last() == ("finished", None)
