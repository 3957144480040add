"""What is inside a branch and what its rows say, brought together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from control.computes.provider import HEAD, ComputeUnavailable
from control.identity import people
from control.postgres import asking, contents, inventory, operations, roles, timelines
from control.postgres.asking import Asker
from control.postgres.branches import NewBranch
from control.postgres.endpoints import NewEndpoint
from gateway.kit import crypto
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Db
from tests.control.branched import Branch
from tests.control.branched import branch as branch
from tests.control.conftest import bearer


async def verifiers(branch: Branch) -> dict[str, str | None]:
    return {row["name"]: row["verifier"] for row in await inventory.rows_of_roles(branch.pool, branch.id)}


async def inside(branch: Branch) -> dict[str, str | None]:
    async with contents.visited(branch.computes, str(branch.endpoint_id), "postgres") as connection:
        return {one.name: one.verifier for one in (await inventory.look(connection)).roles}


async def test_a_password_that_sql_changed_is_known_to_the_proxy_before_it_sleeps(branch: Branch) -> None:
    before = await verifiers(branch)
    async with branch.owner() as connection:
        await connection.execute("ALTER ROLE app PASSWORD 'changed by sql'")
        await connection.execute("CREATE ROLE late LOGIN PASSWORD 'made by sql'")
    await contents.refresh_all(branch.pool, branch.computes)
    known = await verifiers(branch)
    assert known == await inside(branch)
    assert set(known) == {"app", "late"}
    assert known["app"] != before["app"]
    # And once more at the last moment, when somebody puts it to sleep.
    async with branch.session("app", "changed by sql") as connection:
        await connection.execute("ALTER ROLE app PASSWORD 'changed again'")
        by_then = await inside(branch)
    async with branch.transaction() as db:
        await operations.enqueue(
            db, "suspend_compute", branch.project_id, branch.id, endpoint_id=branch.endpoint_id
        )
    await branch.runner.drain()
    assert (await branch.computes.status(str(branch.endpoint_id))).state == "idle"
    assert await verifiers(branch) == by_then
    # Nobody is woken by the job.
    await contents.refresh_all(branch.pool, branch.computes)
    assert (await branch.computes.status(str(branch.endpoint_id))).state == "idle"


async def test_a_branch_has_what_its_parent_had_and_goes_its_own_way(branch: Branch) -> None:
    made = await branch.got("POST", "/roles", {"name": "reader"})
    await branch.got("POST", "/databases", {"name": "shop"})
    async with branch.transaction() as db:
        asker = Asker(db, branch.project_id, branch.user_id)
        new = NewBranch(branch.project_id, "child", branch.project_id, branch.user_id)
        child = await asking.create(
            asker, branch.runner.keyring, branch.id, new, [NewEndpoint()], HEAD, is_archived=False
        )
    await branch.runner.drain()
    at = f"{branch.project}/branches/{child.branch_id}"
    assert [one["name"] for one in await branch.got("GET", f"{at}/roles")] == ["app", "reader"]
    assert [one["name"] for one in await branch.got("GET", f"{at}/databases")] == ["app", "shop"]
    revealed = await branch.got("GET", f"{at}/roles/reader/reveal_password")
    assert revealed["password"] == made["password"]
    assert revealed["role_id"] != made["id"]
    await branch.got("DELETE", f"{at}/databases/shop")
    await branch.got("POST", f"{at}/roles/reader/reset_password", {"password": "of the child's"})
    async with branch.session("reader", made["password"], "shop"):
        pass
    assert (await branch.got("GET", "/roles/reader/reveal_password"))["password"] == made["password"]
    both = await (await branch.client.get("/databases")).json()
    assert [(one["branch_name"], one["name"]) for one in both["data"]] == [
        ("main", "app"), ("main", "shop"), ("child", "app"),
    ]  # fmt: skip
    # One branch's things are not found under another.
    for path in (f"{at}/roles/{made['id']}", f"{at}/databases/shop"):
        status, _ = await branch.ask("GET", path)
        assert status == 404


async def test_a_change_that_meets_a_swap_changes_nothing(branch: Branch) -> None:
    @asynccontextmanager
    async def late() -> AsyncIterator[Db]:
        """Begins after the branch was given other data."""
        timeline_id = await timelines.insert(branch.pool, branch.project_id, None)
        await branch.pool.execute(
            "UPDATE branches SET timeline_id = $2 WHERE id = $1", branch.id, timeline_id
        )
        async with branch.transaction() as db:
            yield db

    changing = contents.changing(branch.pool, branch.computes, late(), branch.id)
    with pytest.raises(ComputeUnavailable):
        await changing.__aenter__()
    assert set(await inside(branch)) == {"app"}


async def test_names_of_another_encoding_and_a_thousand_roles_are_in_nobodys_way(branch: Branch) -> None:
    async with branch.owner() as connection:
        await connection.execute(
            "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
        await connection.execute("CREATE DATABASE renamed")
        await connection.execute("CREATE ROLE keeper")
        await connection.execute("GRANT CONNECT ON DATABASE renamed TO keeper")
        await connection.execute("CREATE PUBLICATION theirs")
    made_of_bytes = "DO $$ BEGIN EXECUTE format('{}', 'no' || chr(255)); END $$"
    async with branch.owner("bytes") as connection:
        await connection.execute("SET client_min_messages = error")
        for statement in ("CREATE ROLE %I", "CREATE PUBLICATION %I", "ALTER DATABASE renamed RENAME TO %I"):
            await connection.execute(made_of_bytes.format(statement))
        await connection.execute(
            "DO $$ BEGIN FOR n IN 1..1100 LOOP EXECUTE 'CREATE ROLE r' || n; END LOOP; END $$"
        )
    # The oldest thousand, less the one that has no spelling.
    assert len(await branch.got("GET", "/roles")) == 999
    assert [one["name"] for one in await branch.got("GET", "/databases")] == ["app", "bytes"]
    assert [one["name"] for one in await branch.got("GET", "/publications")] == ["theirs"]
    await contents.refresh_all(branch.pool, branch.computes)
    status, answer = await branch.ask("DELETE", "/roles/keeper")
    assert (status, answer["code"]) == (409, "refused-by-postgres"), answer
    await branch.got("POST", "/databases", {"name": "shop"})
    status, answer = await branch.ask("POST", "/roles", {"name": "one_more"})
    assert (status, answer["code"]) == (409, "too-many-roles")


async def test_passwords_are_encrypted_anew_for_a_newer_key(branch: Branch) -> None:
    await branch.got("POST", "/roles", {"name": "reader"})
    old = branch.ports.keyring
    newest = Keyring.parse([crypto.new_key("newest")])
    both = Keyring("newest", {**newest.ciphers, **old.ciphers}, {**newest.roots, **old.roots})
    assert await roles.reseal(branch.pool, both) == 2
    assert await roles.reseal(branch.pool, both) == 0
    row = await roles.find(branch.pool, branch.id, None, "reader")
    assert row is not None
    assert len(roles.reveal(newest, branch.project_id, row)) == 32


async def test_a_stranger_finds_nothing(branch: Branch) -> None:
    other = await people.create(branch.pool, "agent", "Other", None)
    headers = await bearer(branch.pool, other)
    for path in ("/roles", "/databases", "/publications", "/replication-slots", "/roles/app/reveal_password"):
        response = await branch.client.get(branch.path + path, headers=headers)
        assert response.status == 404, path
