from contextlib import suppress

import asyncpg
import pytest

from control.postgres import contents, roles
from tests.control.branched import Branch
from tests.control.branched import branch as branch
from tests.control.branched import computes as computes
from tests.control.branched import root as root

HOSTILE = ['a"; DROP DATABASE app; --', "o'brien", "naïve ☃", "%I %L $1 \\", "x" * 63]


async def test_a_role_signs_in_with_the_password_it_was_made_with(branch: Branch) -> None:
    made = await branch.got("POST", "/roles", {"name": "reader"})
    assert (made["name"], made["branch_id"], len(made["password"])) == ("reader", str(branch.id), 32)
    async with branch.session("reader", made["password"]) as connection:
        assert await connection.fetchval("SELECT current_user") == "reader"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE ROLE other")
    listed = await branch.got("GET", "/roles")
    assert [(one["name"], one["protected"]) for one in listed] == [("app", True), ("reader", False)]
    for named in ("reader", made["id"]):
        assert (await branch.got("GET", f"/roles/{named}"))["id"] == made["id"]
        assert (await branch.got("GET", f"/roles/{named}/reveal_password"))["password"] == made["password"]
    # The branch's own role may alter it, and grant it things.
    async with branch.owner() as connection:
        await connection.execute("ALTER ROLE reader CONNECTION LIMIT 3")


async def test_a_password_is_in_no_statement_log_or_audit_row(branch: Branch) -> None:
    made = await branch.got("POST", "/roles", {"name": "reader"})
    chosen = {"password": "correct horse battery"}
    reset = await branch.got("POST", "/roles/reader/reset_password", chosen)
    assert reset == {"role_id": made["id"], **chosen}
    async with branch.session("reader", chosen["password"]):
        pass
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with branch.session("reader", made["password"]):
            pass
    row = await branch.pool.fetchrow("SELECT verifier, password FROM database_roles WHERE name = 'reader'")
    assert row is not None
    assert row["verifier"].startswith("SCRAM-SHA-256$4096:")
    audit = str([dict(one) for one in await branch.pool.fetch("SELECT * FROM audit_logs")])
    for secret in (made["password"], chosen["password"]):
        assert secret.encode() not in row["password"]
        assert secret not in row["verifier"]
        assert secret not in audit
    await branch.got("GET", "/roles/reader/reveal_password")
    seen = [one["action"] for one in await branch.pool.fetch("SELECT action FROM audit_logs ORDER BY id")]
    assert len(seen) == 3


async def test_names_are_text_and_nothing_else(branch: Branch) -> None:
    for name in HOSTILE:
        made = await branch.got("POST", "/roles", {"name": name})
        async with branch.session(name, made["password"]) as connection:
            assert await connection.fetchval("SELECT current_user") == name
        await branch.got("DELETE", f"/roles/{made['id']}")
    assert [one["name"] for one in await branch.got("GET", "/roles")] == ["app"]
    reserved = ["pg_mine", "farebox_x", "cloud_admin", "postgres", "public", "none"]
    refused = ["", *reserved, "x" * 64, "é" * 32, "a\0b"]
    for name in refused:
        status, answer = await branch.ask("POST", "/roles", {"name": name})
        assert (status, answer["code"]) == (400, "invalid-request"), name
    assert [one["name"] for one in await branch.got("GET", "/roles")] == ["app"]


async def test_what_is_refused_says_why(branch: Branch) -> None:
    await branch.got("POST", "/roles", {"name": "reader"})
    for method, path, body, status, code in [
        ("POST", "/roles", {"name": "reader"}, 400, "role-exists"),
        ("DELETE", "/roles/app", None, 400, "role-protected"),
        ("GET", "/roles/nobody", None, 404, "not-found"),
        ("GET", "/roles/nobody/reveal_password", None, 404, "not-found"),
        ("DELETE", "/roles/nobody", None, 404, "not-found"),
        ("DELETE", "/roles/cloud_admin", None, 404, "not-found"),
        ("POST", "/roles/nobody/reset_password", {"password": "long enough"}, 404, "not-found"),
        ("POST", "/roles/reader/reset_password", {"password": "short"}, 400, "invalid-request"),
        ("POST", "/roles/reader/reset_password", {"password": "pässword long"}, 400, "invalid-request"),
        ("POST", "/roles/reader/reset_password", {}, 400, "invalid-request"),
        ("GET", "/roles/%ff", None, 404, "not-found"),
        ("GET", "/roles/%00", None, 400, "invalid-request"),
    ]:  # fmt: skip
        found, answer = await branch.ask(method, path, body)
        assert (found, answer["code"]) == (status, code), (method, path, answer)


async def test_who_owns_something_stays_and_is_told_what(branch: Branch) -> None:
    made = await branch.got("POST", "/roles", {"name": "keeper"})
    await branch.got("POST", "/databases", {"name": "vault", "owner_name": "keeper"})
    status, answer = await branch.ask("DELETE", "/roles/keeper")
    assert (status, answer["code"]) == (409, "role-in-use")
    assert "owns vault" in answer["detail"]
    await branch.got("PATCH", "/databases/vault", {"owner_name": "app"})
    async with branch.owner("vault") as connection:
        await connection.execute("CREATE SCHEMA theirs AUTHORIZATION keeper")
        status, answer = await branch.ask("DELETE", "/roles/keeper")
        assert (status, answer["code"]) == (409, "role-in-use")
        assert "vault" in answer["detail"]
        await connection.execute("DROP SCHEMA theirs")
    address = await branch.wake()
    held = await asyncpg.connect(
        host=str(address.sockets), user="keeper", password=made["password"], database="app"
    )
    assert (await branch.got("DELETE", "/roles/keeper"))["name"] == "keeper"
    # The client may be about to read why.
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        await held.fetchval("SELECT 1")


async def test_roles_made_by_sql_are_found_and_none_is_woken_for_it(branch: Branch) -> None:
    async with branch.owner() as connection:
        await connection.execute("CREATE ROLE mine LOGIN PASSWORD 'sesame sesame'")
        await connection.execute("CREATE ROLE grouped")
    listed = {one["name"]: one for one in await branch.got("GET", "/roles")}
    assert set(listed) == {"app", "grouped", "mine"}
    status, answer = await branch.ask("GET", "/roles/mine/reveal_password")
    assert (status, answer["code"]) == (409, "password-unknown")
    async with branch.owner() as connection:
        await connection.execute("DROP ROLE grouped")
        await connection.execute("ALTER ROLE mine PASSWORD 'another sesame'")
    await branch.sleep()
    # Asleep, what was last seen is what there is to be seen.
    assert [one["name"] for one in await branch.got("GET", "/roles")] == ["app", "grouped", "mine"]
    assert (await branch.computes.status(str(branch.endpoint_id))).state == "idle"
    await branch.wake()
    before = await branch.pool.fetchval("SELECT verifier FROM database_roles WHERE name = 'mine'")
    again = await branch.got("GET", "/roles")
    assert {one["name"]: one["id"] for one in again} == {
        "app": listed["app"]["id"], "mine": listed["mine"]["id"],
    }  # fmt: skip
    assert await branch.pool.fetchval("SELECT verifier FROM database_roles WHERE name = 'mine'") != before


async def test_a_password_that_sql_changed_is_not_shown_any_more(branch: Branch) -> None:
    made = await branch.got("POST", "/roles", {"name": "reader"})
    async with branch.owner() as connection:
        await connection.execute("ALTER ROLE reader PASSWORD 'by sql, and longer'")
    status, answer = await branch.ask("GET", "/roles/reader/reveal_password")
    assert (status, answer["code"]) == (409, "password-unknown")
    await branch.got("POST", "/roles/reader/reset_password", {"password": "known again"})
    assert (await branch.got("GET", "/roles/reader/reveal_password"))["password"] == "known again"
    assert made["password"] != "known again"


class Died(Exception):
    """The process ended here."""


async def test_what_dies_after_postgres_took_it_leaves_a_role_that_is_found(branch: Branch) -> None:
    keyring, secret = branch.ports.keyring, await roles.secret_of("never told to anybody")

    changing = contents.changing(branch.pool, branch.computes, branch.transaction(), branch.id)
    with suppress(Died):
        async with changing as (db, connection):
            await roles.create(db, connection, keyring, branch.project_id, branch.id, "half", secret)
            raise Died
    assert await branch.pool.fetchval("SELECT count(*) FROM database_roles WHERE name = 'half'") == 0
    # Again is told that it is there; the look takes it over, whole: it can be given a password, and dropped.
    status, answer = await branch.ask("POST", "/roles", {"name": "half"})
    assert (status, answer["code"]) == (400, "role-exists")
    assert [one["name"] for one in await branch.got("GET", "/roles")] == ["app", "half"]
    await branch.got("POST", "/roles/half/reset_password", {"password": "told at last"})
    async with branch.session("half", "told at last"):
        pass
    await branch.got("DELETE", "/roles/half")


async def test_what_dies_before_postgres_was_asked_leaves_nothing(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise Died

    monkeypatch.setattr("control.postgres.inside.run", die)
    status, _ = await branch.ask("POST", "/roles", {"name": "half"})
    assert status == 500
    monkeypatch.undo()
    await branch.got("POST", "/roles", {"name": "half"})
