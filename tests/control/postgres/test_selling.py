"""Queries of a project's branch: what a caller can read, and what becomes of it when the branch does."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from config.settings import Queries as Limits
from config.settings import Upstream
from control.computes.local import LocalProvider
from control.postgres import connecting
from control.postgres.running import Runner
from control.selling.branches import SoldBranches
from gateway.kit import ids
from gateway.kit.crypto import Keyring
from gateway.kit.problem import Refusal
from gateway.kit.sql import Connection, Pool
from gateway.kit.ssrf import Guard
from gateway.options import Question
from gateway.upstreams.branches import Branch
from gateway.upstreams.postgres import Queries
from tests.control.postgres.conftest import Project

TABLES = ("public.items", "shop.prices", "public.extended", "public.absent", "pg_catalog.pg_authid")


@pytest.fixture
def queries(pool: Pool, computes: LocalProvider) -> Queries:
    return Queries(
        Guard(is_private_allowed=False), Upstream(), Limits(seconds_max=20, at_once_per_publisher=50),
        SoldBranches(pool, computes),
    )  # fmt: skip


@pytest.fixture
async def sold(
    pool: Pool, computes: LocalProvider, keyring: Keyring, runner: Runner, project: Project
) -> Branch:
    await runner.drain()
    async with connecting.as_owner(pool, computes, keyring, project.branch_id, "app") as owner:
        await owner.execute(
            "CREATE TABLE items AS SELECT n AS id FROM generate_series(1, 50) AS n; CREATE SCHEMA shop;"
            "CREATE TABLE shop.prices AS SELECT 7 AS price; CREATE TABLE secrets AS SELECT 'xyzzy' AS word"
        )
    async with connecting.admin(pool, computes, project.branch_id, "app") as admin:
        await admin.execute("CREATE VIEW public.extended AS SELECT rolpassword FROM pg_authid")
    organization_id = await pool.fetchval("SELECT organization_id FROM projects WHERE id = $1", project.id)
    role = f"farebox_sells_{ids.new().hex}"
    return Branch(organization_id, project.branch_id, "app", role, "p" * 32, TABLES)


async def ask(queries: Queries, branch: Branch, statement: str) -> Any:
    question = Question(statement, (), 100, "json")
    async with queries.ask(ids.new(), branch, question) as answer:
        return json.loads(b"".join([chunk async for chunk in answer.chunks]))["rows"]


async def refused(queries: Queries, branch: Branch, statement: str) -> str:
    with pytest.raises(Refusal) as found:
        await ask(queries, branch, statement)
    assert "xyzzy" not in str(found.value)
    return getattr(found.value, "state", found.value.slug)


async def test_what_is_named_can_be_read_and_nothing_else(queries: Queries, sold: Branch) -> None:
    assert await ask(queries, sold, "SELECT count(*) AS n FROM items") == [{"n": 50}]
    assert await ask(queries, sold, "SELECT price FROM shop.prices") == [{"price": 7}]
    # The third is a superuser's, who can read more than the branch's people.
    for statement in (
        "SELECT * FROM secrets",
        "SELECT * FROM nothing_there",
        "SELECT * FROM extended",
        "SELECT rolpassword FROM pg_authid",
    ):
        assert await refused(queries, sold, statement) == "42P01"
    assert await refused(queries, sold, "DELETE FROM items RETURNING 1") == "25006"
    assert await queries.estimate(ids.new(), sold, "SELECT * FROM items WHERE id = 1") > 0
    less = replace(sold, tables=("public.items",))
    assert await refused(queries, less, "SELECT price FROM shop.prices") == "42P01"
    assert await ask(queries, less, "SELECT id FROM items LIMIT 1")


async def test_a_sleeper_is_woken_once_by_all_who_ask(
    pool: Pool, computes: LocalProvider, queries: Queries, sold: Branch, project: Project
) -> None:
    await computes.stop(str(project.endpoint_id))
    before = len([1 for _, event in computes.bulletin.kept if event.kind == "ready"])
    # Of two publishers, who sell the same table.
    others = replace(sold, role=f"{sold.role[:-1]}x")
    asked = [ask(queries, one, "SELECT id FROM items LIMIT 1") for one in [sold, others] * 10]
    async with asyncio.timeout(60):
        assert await asyncio.gather(*asked) == [[{"id": 1}]] * 20
    after = len([1 for _, event in computes.bulletin.kept if event.kind == "ready"])
    assert after - before == 1


async def test_other_processes_make_the_same_role_at_the_same_time(
    pool: Pool, computes: LocalProvider, queries: Queries, sold: Branch
) -> None:
    processes = [SoldBranches(pool, computes) for _ in range(8)]
    async with asyncio.timeout(60):
        places = await asyncio.gather(*[one.wake(sold) for one in processes])
    assert len(set(places)) == 1
    assert await ask(queries, sold, "SELECT id FROM items LIMIT 1") == [{"id": 1}]


async def test_a_branch_that_was_given_other_data_has_the_role_again(
    pool: Pool, computes: LocalProvider, queries: Queries, sold: Branch
) -> None:
    """As by a reset or a restore; the role is of the time before, or not there at all."""
    assert await ask(queries, sold, "SELECT id FROM items LIMIT 1")
    async with connecting.admin(pool, computes, sold.id, "app") as admin:
        await drop(admin, sold.role)
    assert await refused(queries, sold, "SELECT id FROM items LIMIT 1") == "upstream-unreachable"
    wakes = queries.branches
    assert isinstance(wakes, SoldBranches)
    timeline_id, known = wakes.prepared[sold.role]
    wakes.prepared[sold.role] = ids.new(), known
    assert await ask(queries, sold, "SELECT id FROM items LIMIT 1") == [{"id": 1}]
    assert wakes.prepared[sold.role][0] == timeline_id


async def drop(admin: Connection, role: str) -> None:
    await admin.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


@pytest.mark.parametrize("what", ["moved", "stopped", "deleted", "no such database"])
async def test_a_branch_that_is_not_there_sells_nothing(
    pool: Pool, queries: Queries, sold: Branch, project: Project, what: str
) -> None:
    if what == "moved":
        sold = replace(sold, organization_id=ids.new())
    elif what == "stopped":
        await pool.execute("UPDATE endpoints SET is_disabled = true WHERE id = $1", project.endpoint_id)
    elif what == "deleted":
        await pool.execute("UPDATE branches SET deleted_at = now() WHERE id = $1", sold.id)
    else:
        sold = replace(sold, database="other")
    assert await refused(queries, sold, "SELECT 1") == "upstream-unreachable"
    assert queries.under_way == {}
