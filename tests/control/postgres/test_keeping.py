"""What deleted projects keep counts, is bounded, and is thrown away by whoever wants the room."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from config.plans import Plan
from control import app
from control.computes import disks
from control.postgres import limiting, measuring, sweeping
from control.projects import keeping, restoring
from control.projects.restoring import NotRestored
from tests.control.branched import Branch
from tests.control.branched import branch as branch
from tests.control.conftest import Client, Member, join
from tests.control.postgres.test_restoring import deleted
from tests.control.test_cli import farebox

KEPT = "/organizations/default/deleted-projects"
NEW = {"name": "another", "region": "local"}
FREE = Plan(id="free", name="Free")


async def served(
    branch: Branch, member: Member, aiohttp_client: AiohttpClient, plan: Plan = FREE, count: int = 20
) -> Client:
    """By an installation that keeps so many, with such a plan for everybody."""
    settings = branch.ports.settings
    computes = settings.computes.model_copy(update={"deleted_projects_max": count})
    changed = settings.model_copy(update={"plans": (plan,), "computes": computes})
    client: Client = await aiohttp_client(
        app.create(branch.pool, replace(branch.ports, settings=changed)), headers=member.headers
    )
    return client


async def told(client: Client, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    response = await client.request(method, path, json=body)
    return response.status, None if response.status == 204 else await response.json()


async def test_only_so_many_are_kept_and_the_room_of_one_is_had_by_purging_it(
    branch: Branch, member: Member, aiohttp_client: AiohttpClient
) -> None:
    await measuring.measure(branch.pool, branch.computes)
    await deleted(branch)
    client = await served(branch, member, aiohttp_client, count=1)
    _, listed = await told(client, "GET", KEPT)
    (one,) = listed["data"]
    assert (one["id"], one["name"], one["storage_bytes"] > 1 << 20) == (str(branch.project_id), "shop", True)
    for path, body, status in (("/projects", NEW, 403), ("/v1/projects", {"name": "another"}, 402)):
        got, problem = await told(client, "POST", path, body)
        assert got == status
        assert problem["detail"] == (
            "1 deleted projects are kept for 30 days, and no more than 1 are. Throw the data of one "
            "away for good by DELETE /organizations/default/deleted-projects/{id}: "
            f"{one['slug']} ({one['id']}, {one['storage_bytes']} bytes)"
        )
    assert (await told(client, "DELETE", f"{KEPT}/{one['id']}"))[0] == 204
    assert (await told(client, "DELETE", f"{KEPT}/{one['id']}"))[0] == 404
    assert (await told(client, "GET", KEPT))[1]["data"] == []
    assert (await told(client, "POST", "/projects", NEW))[0] == 201
    assert await restoring.deleted(branch.pool) == []
    with pytest.raises(NotRestored, match="thrown away before its time"):
        await restoring.restore(branch.pool, branch.project_id, None)
    await branch.pool.execute("UPDATE timelines SET created_at = created_at - interval '2 minutes'")
    place = branch.computes.store.place(
        str(await branch.pool.fetchval("SELECT min(id::text) FROM timelines"))
    )
    assert place.root.is_dir()
    assert await sweeping.discard(branch.pool, branch.computes) == 1
    assert not place.root.exists()
    events = await branch.pool.fetch("SELECT type FROM events ORDER BY created_at")
    assert [row["type"] for row in events] == ["project.deleted", "project.purged", "project.created"]


async def test_what_is_kept_counts_for_the_plans_disk(
    branch: Branch, member: Member, aiohttp_client: AiohttpClient
) -> None:
    await measuring.measure(branch.pool, branch.computes)
    size = int(await branch.pool.fetchval("SELECT sum(logical_bytes + history_bytes) FROM timelines"))
    plan = Plan(id="tight", name="Tight", quotas={"storage_bytes": size})
    client = await served(branch, member, aiohttp_client, plan)
    said = f"the plan Tight has room for {size} storage_bytes, and they are used"
    status, problem = await told(client, "POST", "/projects", NEW)
    assert (status, problem["detail"]) == (403, said)
    await deleted(branch)
    status, problem = await told(client, "POST", "/projects", NEW)
    assert (status, problem["code"]) == (403, "quota-exceeded")
    assert problem["detail"].startswith(f"{said}: deleted projects keep {size}. Throw the data of one away ")
    # A project that is there has what is left of it beside them.
    other = await served(branch, member, aiohttp_client)
    made = (await told(other, "POST", "/projects", NEW))[1]["data"]
    await branch.runner.drain()
    assert await limiting.limit(branch.pool, branch.computes, [plan], {}) == 1
    assert disks.limits(branch.computes.store) == {made["id"]: 0}
    # What is to be thrown away takes its room until it is.
    assert (await told(other, "DELETE", f"{KEPT}/{branch.project_id}"))[0] == 204
    assert (await told(client, "POST", "/projects", NEW))[1]["detail"] == said
    await branch.pool.execute("UPDATE timelines SET created_at = created_at - interval '2 minutes'")
    assert await sweeping.discard(branch.pool, branch.computes) == 1
    assert await limiting.limit(branch.pool, branch.computes, [plan], {}) == 1
    assert disks.limits(branch.computes.store) == {made["id"]: size}


async def test_nobody_else_purges_it_and_nothing_that_is_there_is_purged(
    branch: Branch, aiohttp_client: AiohttpClient
) -> None:
    assert (await told(branch.client, "DELETE", f"{KEPT}/{branch.project_id}"))[0] == 404
    await deleted(branch)
    stranger = await join(branch.pool)
    client = await served(branch, stranger, aiohttp_client)
    assert (await told(client, "DELETE", f"{KEPT}/{branch.project_id}"))[0] == 404
    assert (await told(client, "GET", KEPT))[1]["data"] == []
    assert await branch.pool.fetchval("SELECT purged_at FROM projects") is None


async def test_of_a_purge_and_a_restore_at_once_one_is_done(branch: Branch) -> None:
    await deleted(branch)

    async def purge() -> bool:
        async with branch.transaction() as db:
            return await keeping.purge(db, branch.project_id) is not None

    purged, restored = await asyncio.gather(
        purge(), restoring.restore(branch.pool, branch.project_id, None), return_exceptions=True
    )
    assert purged is not isinstance(restored, str)
    row = await branch.pool.fetchrow("SELECT deleted_at, purged_at FROM projects")
    assert row is not None
    assert (row["deleted_at"] is None, row["purged_at"] is None) == (not purged, not purged)


async def test_many_are_named_by_the_largest(branch: Branch) -> None:
    at = await branch.pool.fetchval("SELECT now()")
    many = [
        keeping.shown({"id": UUID(int=n), "name": "p", "slug": f"p{n}", "deleted_at": at, "bytes": n})  # type: ignore[arg-type]
        for n in range(8)
    ]
    text = keeping.named(many)
    assert text.startswith(f"p7 ({UUID(int=7)}, 7 bytes), p6 (")
    assert text.endswith("p3 (00000000-0000-0000-0000-000000000003, 3 bytes) and 3 more")


async def test_the_operator_purges_it_by_a_command(branch: Branch, server: str, database: str) -> None:
    await deleted(branch)
    variables = {"FAREBOX_POSTGRES__DSN": server.replace("/postgres?", f"/{database}?")}
    for code, said in ((0, "is thrown away"), (1, "nothing is kept of a deleted project")):
        done = await asyncio.to_thread(
            farebox, "projects", "purge", str(branch.project_id), variables=variables
        )
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr
