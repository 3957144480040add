"""A project that was deleted by mistake comes back as it was."""

import asyncio

import pytest

from control.api.wire_ids import spell
from control.postgres import connecting, sweeping
from control.projects import restoring
from control.projects.restoring import NotRestored
from tests.control.branched import Branch
from tests.control.branched import branch as branch
from tests.control.test_cli import farebox


async def deleted(branch: Branch) -> None:
    assert (await branch.ask("DELETE", branch.project))[0] == 200
    await branch.runner.drain()


async def test_a_restored_project_has_its_data_and_the_way_in(branch: Branch) -> None:
    async with branch.owner() as owner:
        await owner.execute("CREATE TABLE kept AS SELECT 7 AS n")
    before = await branch.got("GET", "/connection-string")
    await deleted(branch)
    assert (await branch.ask("GET", branch.project))[0] == 404
    assert await sweeping.discard(branch.pool, branch.computes) == 0
    (row,) = await restoring.deleted(branch.pool)
    assert (row["id"], row["name"]) == (branch.project_id, "shop")
    slug = await restoring.restore(branch.pool, branch.project_id, None)
    assert await restoring.deleted(branch.pool) == []
    assert await branch.pool.fetchval("SELECT slug FROM projects WHERE deleted_at IS NULL") == slug
    assert await branch.got("GET", "/connection-string") == before
    async with branch.owner() as owner:
        assert await owner.fetchval("SELECT n FROM kept") == 7
    events = await branch.pool.fetch("SELECT type FROM events ORDER BY created_at")
    assert [one["type"] for one in events][-2:] == ["project.deleted", "project.restored"]
    with pytest.raises(NotRestored, match="was deleted"):
        await restoring.restore(branch.pool, branch.project_id, None)


async def test_what_was_deleted_before_its_project_stays_so(branch: Branch) -> None:
    made = await branch.got("POST", f"{branch.project}/branches", {"name": "dev", "add_endpoint": False})
    await branch.runner.drain()
    await branch.got("DELETE", f"{branch.project}/branches/{made['branch']['id']}")
    await deleted(branch)
    await restoring.restore(branch.pool, branch.project_id, None)
    assert [one["name"] for one in await branch.got("GET", f"{branch.project}/branches")] == ["main"]


async def test_a_slug_that_was_taken_since_is_another_ones(branch: Branch) -> None:
    slug = await branch.pool.fetchval("SELECT slug FROM projects")
    await deleted(branch)
    taken = await branch.client.post("/v1/projects", json={"name": "other", "slug": slug})
    assert taken.status == 201
    for chosen in (None, slug):
        with pytest.raises(NotRestored, match="has been taken since"):
            await restoring.restore(branch.pool, branch.project_id, chosen)
    with pytest.raises(NotRestored, match="is no slug"):
        await restoring.restore(branch.pool, branch.project_id, "No Slug!")
    assert await restoring.restore(branch.pool, branch.project_id, "another-one") == "another-one"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE projects SET deleted_at = now() - interval '30 days'", "data is gone"),
        ("UPDATE timelines SET state = 'deleted'", "data is gone"),
        ("UPDATE branches SET state = 'init'", "was never made"),
        ("UPDATE organizations SET deleted_at = now()", "organization was deleted"),
    ],
)
async def test_what_is_gone_is_not_restored(branch: Branch, statement: str, said: str) -> None:
    await deleted(branch)
    await branch.pool.execute(statement)
    with pytest.raises(NotRestored, match=said):
        await restoring.restore(branch.pool, branch.project_id, None)
    assert await branch.pool.fetchval("SELECT count(*) FROM branches WHERE deleted_at IS NULL") == 0


async def test_a_project_that_is_restored_at_once_runs_on(branch: Branch) -> None:
    """The operation that stops its servers has not begun, and is not needed any more."""
    await branch.wake()
    assert (await branch.ask("DELETE", branch.project))[0] == 200
    await restoring.restore(branch.pool, branch.project_id, None)
    assert await branch.runner.drain() == 0
    async with connecting.admin(branch.pool, branch.computes, branch.id) as admin:
        assert await admin.fetchval("SELECT 1") == 1


async def test_the_operator_restores_it_by_a_command(branch: Branch, server: str, database: str) -> None:
    await deleted(branch)
    variables = {"FAREBOX_POSTGRES__DSN": server.replace("/postgres?", f"/{database}?")}
    listed = await asyncio.to_thread(farebox, "projects", "deleted", variables=variables)
    assert str(branch.project_id) in listed.stdout
    spelling = spell("p", branch.project_id)
    for code, said in ((0, "is there again"), (1, "was deleted")):
        done = await asyncio.to_thread(farebox, "projects", "restore", spelling, variables=variables)
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr
    done = await asyncio.to_thread(farebox, "projects", "restore", "nonsense", variables=variables)
    assert (done.returncode, "no id of a project" in done.stderr) == (1, True)
