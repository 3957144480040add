"""What a project begins with, and the operations that make it true."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from control.computes.local import LocalProvider
from control.postgres import branches, connecting, endpoints, following, operations, timelines
from control.postgres.branches import NewBranch
from control.postgres.operations import LeaseLost
from control.postgres.running import Runner
from control.postgres.timelines import Source
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool
from tests.control.postgres.conftest import Project


async def states(pool: Pool) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT action, status FROM operations ORDER BY number")
    return [(row["action"], row["status"]) for row in rows]


async def child(pool: Pool, project: Project, name: str, *, is_protected: bool = False) -> UUID:
    async with pool.acquire() as db, db.transaction():
        timeline = await db.fetchval("SELECT timeline_id FROM branches WHERE id = $1", project.branch_id)
        made = await timelines.insert(db, project.id, Source(timeline))
        new = NewBranch(project.id, name, made, project.user_id, project.branch_id, is_protected=is_protected)
        branch_id = await branches.insert(db, new)
        assert branch_id is not None
        await operations.enqueue(db, "create_branch", project.id, branch_id)
    return branch_id


async def test_a_project_begins_with_a_database_of_its_owner(
    pool: Pool, computes: LocalProvider, keyring: Keyring, runner: Runner, project: Project
) -> None:
    assert await runner.drain() == 1
    assert await states(pool) == [("create_timeline", "finished")]
    assert await pool.fetchval("SELECT state FROM timelines") == "ready"
    async with connecting.as_owner(pool, computes, keyring, project.branch_id, "app") as owner:
        await owner.execute("CREATE TABLE kept AS SELECT 1 AS n")
        assert await owner.fetchval("SELECT current_user") == "app"
        assert not await owner.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'")
    assert await pool.fetchval("SELECT status FROM endpoints") == "active"
    assert await pool.fetchval("SELECT count(*) FROM compute_runs") == 1
    await computes.stop(str(project.endpoint_id))
    for _, event in list(computes.bulletin.kept):
        await following.note(pool, event)
    assert await pool.fetchval("SELECT status FROM endpoints") == "idle"
    assert await pool.fetchval("SELECT count(*) FROM compute_runs") == 0


@pytest.mark.parametrize("is_parent_protected", [False, True])
async def test_a_branch_has_what_its_parent_had(
    pool: Pool,
    computes: LocalProvider,
    keyring: Keyring,
    runner: Runner,
    project: Project,
    is_parent_protected: bool,
) -> None:
    await runner.drain()
    await pool.execute("UPDATE branches SET is_protected = $1", is_parent_protected)
    async with connecting.as_owner(pool, computes, keyring, project.branch_id, "app") as owner:
        await owner.execute("CREATE TABLE kept AS SELECT 1 AS n; CREATE ROLE other LOGIN PASSWORD 'a secret'")
        await owner.execute("CREATE DATABASE second")
    branch_id = await child(pool, project, "child")
    await endpoints.insert(pool, project.id, branch_id, endpoints.NewEndpoint(), project.user_id)
    assert await runner.drain() == 1
    async with connecting.as_owner(pool, computes, keyring, branch_id, "app") as owner:
        assert await owner.fetchval("SELECT n FROM kept") == 1
    rows = await pool.fetch(
        "SELECT name, verifier, is_protected FROM database_roles WHERE branch_id = $1 ORDER BY name",
        branch_id,
    )
    assert [(row["name"], row["is_protected"]) for row in rows] == [("app", True), ("other", False)]
    parents = await pool.fetchval(
        "SELECT verifier FROM database_roles WHERE branch_id = $1 AND name = 'app'", project.branch_id
    )
    assert (rows[0]["verifier"] == parents) != is_parent_protected
    names = await pool.fetch("SELECT name FROM databases WHERE branch_id = $1 ORDER BY name", branch_id)
    assert [row["name"] for row in names] == ["app", "second"]


async def test_a_branch_waits_for_its_parent_and_others_do_not(
    pool: Pool, runner: Runner, project: Project
) -> None:
    await child(pool, project, "early")
    found = await operations.lease(pool, 9)
    assert [one.action for one in found] == ["create_timeline", "create_branch"]
    # The child first: its parent is not there.
    await runner.turn(found[1])
    assert await states(pool) == [("create_timeline", "running"), ("create_branch", "scheduling")]
    await runner.turn(found[0])
    await pool.execute("UPDATE operations SET due_at = now()")
    assert await runner.drain() == 1
    assert {one[1] for one in await states(pool)} == {"finished"}
    assert await pool.fetchval("SELECT sum(failures_count)::bigint FROM operations") == 0


async def test_operations_of_one_branch_run_one_after_the_other(pool: Pool, project: Project) -> None:
    for _ in range(3):
        await operations.enqueue(
            pool, "start_compute", project.id, project.branch_id, endpoint_id=project.endpoint_id
        )
    found = [
        one for group in await asyncio.gather(*[operations.lease(pool, 9) for _ in range(8)]) for one in group
    ]
    assert [one.action for one in found] == ["create_timeline"]


async def test_of_two_that_run_an_operation_one_writes(
    pool: Pool, runner: Runner, project: Project, computes: LocalProvider
) -> None:
    (slow,) = await operations.lease(pool, 1)
    await pool.execute("UPDATE operations SET leased_until = now()")
    (quick,) = await operations.lease(pool, 1)
    await runner.turn(quick)
    with pytest.raises(LeaseLost):
        async with operations.Job(pool, computes, runner.keyring, slow).finishing():
            raise AssertionError
    await runner.turn(slow)
    assert await states(pool) == [("create_timeline", "finished")]


@pytest.mark.parametrize("broken", ["create_timeline", "admin", "stat"])
async def test_a_crash_at_any_step_is_resumed(
    pool: Pool,
    runner: Runner,
    project: Project,
    computes: LocalProvider,
    keyring: Keyring,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a call of the provider the process ends, as it were: nothing is written, the lease runs out."""

    class Killed(BaseException):
        pass

    real = getattr(LocalProvider, broken)

    async def dying(self: LocalProvider, *arguments: Any, **more: Any) -> Any:
        made = await real(self, *arguments, **more)
        if broken == "admin":
            made.terminate()
        raise Killed

    monkeypatch.setattr(LocalProvider, broken, dying)
    (one,) = await operations.lease(pool, 1)
    with pytest.raises(BaseExceptionGroup):
        await runner.attempt(one)
    monkeypatch.setattr(LocalProvider, broken, real)
    assert await pool.fetchval("SELECT state FROM branches") == "init"
    await pool.execute("UPDATE operations SET leased_until = now()")
    assert await runner.drain() == 1
    async with connecting.as_owner(pool, computes, keyring, project.branch_id, "app") as owner:
        assert await owner.fetchval("SELECT 1") == 1
    timeline = await pool.fetchval("SELECT timeline_id FROM branches")
    assert len([one for one in computes.store.timelines() if one == str(timeline)]) == 1


async def test_what_cannot_be_made_says_so(pool: Pool, runner: Runner, project: Project) -> None:
    await runner.drain()
    branch_id = await child(pool, project, "old")
    await pool.execute("UPDATE timelines SET parent_lsn = '0/1' WHERE state = 'creating'")
    await runner.drain()
    row = await pool.fetchrow("SELECT status, error FROM operations WHERE branch_id = $1", branch_id)
    assert row is not None
    assert (row["status"], "history is kept from" in row["error"]) == ("failed", True)
    assert await pool.fetchval("SELECT state FROM branches WHERE id = $1", branch_id) == "failed"
