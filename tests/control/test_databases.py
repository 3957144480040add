import asyncio
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest

from control.identity import people
from control.postgres import contents, databases
from tests.control.branched import Branch
from tests.control.branched import branch as branch
from tests.control.branched import computes as computes
from tests.control.branched import root as root
from tests.control.conftest import bearer


async def test_a_database_is_made_given_away_and_dropped(branch: Branch) -> None:
    made = await branch.got("POST", "/databases", {"name": "shop"})
    owner = await branch.got("GET", "/roles/app")
    assert (made["name"], made["owner_role_id"]) == ("shop", owner["id"])
    async with branch.owner("shop") as connection:
        await connection.execute("CREATE TABLE orders AS SELECT 1 AS n")
    reader = await branch.got("POST", "/roles", {"name": "reader"})
    for method, named in (("PUT", "shop"), ("PATCH", made["id"])):
        given = await branch.got(method, f"/databases/{named}", {"owner_name": "reader"})
        assert given == await branch.got("GET", f"/databases/{named}")
        assert given["owner_name"] == "reader"
        # Nothing is sent, and nothing changes.
        assert (await branch.got(method, f"/databases/{named}", {}))["owner_name"] == "reader"
    async with branch.session("reader", reader["password"], "shop") as connection:
        await connection.execute("CREATE SCHEMA theirs")
        dropped = await branch.got("DELETE", "/databases/shop")
        assert dropped["id"] == made["id"]
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await connection.fetchval("SELECT 1")
    assert [one["name"] for one in await branch.got("GET", "/databases")] == ["app"]
    told = await branch.pool.fetch("SELECT type FROM events WHERE type LIKE 'database%' ORDER BY type")
    assert [row["type"] for row in told] == ["database.created", "database.deleted", "database_role.created"]


async def test_what_is_refused_says_why(branch: Branch) -> None:
    for method, path, body, status, code in [
        ("POST", "/databases", {"name": "app"}, 400, "database-exists"),
        ("POST", "/databases", {"name": "postgres"}, 400, "invalid-request"),
        ("POST", "/databases", {"name": "template1"}, 400, "invalid-request"),
        ("POST", "/databases", {"name": "x" * 64}, 400, "invalid-request"),
        ("POST", "/databases", {"name": "shop", "owner_name": "nobody"}, 400, "invalid-request"),
        ("POST", "/databases", {"name": "shop", "owner_name": "cloud_admin"}, 400, "invalid-request"),
        ("PATCH", "/databases/app", {"owner_name": "cloud_admin"}, 400, "invalid-request"),
        ("PATCH", "/databases/nothing", {"owner_name": "app"}, 404, "not-found"),
        ("GET", f"/databases/{uuid4()}", None, 404, "not-found"),
        ("DELETE", "/databases/postgres", None, 404, "not-found"),
        ("GET", f"/projects/{branch.project_id}/branches/{uuid4()}/databases", None, 404, "not-found"),
    ]:  # fmt: skip
        found, answer = await branch.ask(method, path, body)
        assert (found, answer["code"]) == (status, code), (method, path, answer)
    assert (await branch.computes.status(str(branch.endpoint_id))).state != "failed"
    for name in ('a"; DROP ROLE app; --', "o'brien ☃", "%I"):
        await branch.got("POST", "/databases", {"name": name})
        async with branch.owner(name) as connection:
            assert await connection.fetchval("SELECT current_database()") == name
        await branch.got("DELETE", f"/databases/{(await branch.got('GET', '/databases'))[-1]['id']}")


async def test_everything_is_listed_with_its_project_and_branch(branch: Branch) -> None:
    await branch.got("POST", "/databases", {"name": "shop"})
    for path in ("/databases", f"{branch.project}/databases"):
        answer = await (await branch.client.get(path)).json()
        assert [(one["name"], one["project_name"], one["branch_name"]) for one in answer["data"]] == [
            ("app", "shop", "main"), ("shop", "shop", "main"),
        ]  # fmt: skip
        assert {one["is_default_branch"] for one in answer["data"]} == {True}
        assert {one["branch_id"] for one in answer["data"]} == {str(branch.id)}
    stranger = await bearer(branch.pool, await people.create(branch.pool, "agent", "Stranger", None))
    answer = await (await branch.client.get("/databases", headers=stranger)).json()
    assert answer["data"] == []
    refused = await branch.client.get(f"{branch.project}/databases", headers=stranger)
    assert refused.status == 404


async def test_databases_made_by_sql_are_found_and_none_is_woken_for_it(branch: Branch) -> None:
    async with branch.owner() as connection:
        await connection.execute("CREATE DATABASE mine")
    assert [one["name"] for one in await branch.got("GET", "/databases")] == ["app", "mine"]
    async with branch.owner() as connection:
        await connection.execute("DROP DATABASE mine")
    await branch.sleep()
    assert [one["name"] for one in await branch.got("GET", "/databases")] == ["app", "mine"]
    assert (await branch.computes.status(str(branch.endpoint_id))).state == "idle"
    await branch.wake()
    assert [one["name"] for one in await branch.got("GET", "/databases")] == ["app"]


async def test_settings_of_its_owner_do_not_reach_us(branch: Branch) -> None:
    """Whoever owns a database chooses what sessions start with, and may leave functions on their path."""
    async with branch.owner() as connection:
        await connection.execute("CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql AS "
                                 "$$SELECT 'ALTER ROLE app SUPERUSER'$$")  # fmt: skip
        await connection.execute("ALTER DATABASE app SET search_path = public, pg_catalog")
        await connection.execute("ALTER DATABASE app SET role = 'app'")
    changing = contents.changing(branch.pool, branch.computes, branch.transaction(), branch.id, "app")
    async with changing as (_, connection):
        assert await connection.fetchval("SELECT current_user") == "cloud_admin"
        assert await connection.fetchval("SHOW search_path") == "pg_catalog"
        assert await connection.fetchval("SELECT format('%s', 'x'::text)") == "x"


class Died(Exception):
    """The process ended here."""


async def test_what_dies_after_postgres_took_it_is_found_whole(branch: Branch) -> None:
    changing = contents.changing(branch.pool, branch.computes, branch.transaction(), branch.id)
    with suppress(Died):
        async with changing as (db, connection):
            await databases.create(db, connection, branch.id, "half", None)
            raise Died
    status, answer = await branch.ask("POST", "/databases", {"name": "half"})
    assert (status, answer["code"]) == (400, "database-exists")
    found = (await branch.got("GET", "/databases"))[-1]
    assert (found["name"], found["owner_name"]) == ("half", "app")
    changing = contents.changing(branch.pool, branch.computes, branch.transaction(), branch.id)
    with suppress(Died):
        async with changing as (db, connection):
            row = await databases.find(db, branch.id, None, "half")
            assert row is not None
            await databases.drop(db, connection, row)
            raise Died
    # The row outlived it; dropping it again is no error, and ends that.
    await branch.got("DELETE", f"/databases/{found['id']}")
    assert [one["name"] for one in await branch.got("GET", "/databases")] == ["app"]


async def test_of_two_at_once_one_is_told_and_a_look_takes_nothing_for_gone(branch: Branch) -> None:
    await branch.wake()
    asked = [branch.ask("POST", "/databases", {"name": "shop"}) for _ in range(4)]
    looks = [branch.ask("GET", "/databases") for _ in range(8)]
    answers = await asyncio.gather(*asked, *looks)
    assert sorted(status for status, _ in answers[:4]) == [201, 400, 400, 400]
    assert {status for status, _ in answers[4:]} == {200}
    assert [one["name"] for one in await branch.got("GET", "/databases")] == ["app", "shop"]
    assert await branch.pool.fetchval("SELECT count(*) FROM databases") == 2


async def test_a_session_in_the_way_is_a_conflict_and_leaves_it_as_it_was(branch: Branch) -> None:
    await branch.got("POST", "/roles", {"name": "reader"})
    async with branch.owner() as connection, connection.transaction():
        await connection.execute("ALTER DATABASE app CONNECTION LIMIT 7")
        status, answer = await branch.ask("PATCH", "/databases/app", {"owner_name": "reader"})
    assert (status, answer["code"]) == (409, "database-busy"), answer
    assert (await branch.got("GET", "/databases/app"))["owner_name"] == "app"
