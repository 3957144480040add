from uuid import uuid4

import pytest

from tests.control.branched import Branch
from tests.control.branched import branch as branch
from tests.control.branched import computes as computes
from tests.control.branched import root as root
from tests.control.test_publications import logical as logical


async def test_a_slot_keeps_changes_for_its_reader(logical: Branch) -> None:
    made = await logical.got("POST", "/replication-slots", {"name": "cdc", "plugin": "test_decoding"})
    assert (made["slot_type"], made["plugin"], made["database"]) == ("logical", "test_decoding", "app")
    assert (made["status"], made["active_pid"]) == ("inactive", None)
    async with logical.owner() as connection:
        await connection.execute("INSERT INTO orders VALUES (7)")
        changes = await connection.fetch("SELECT data FROM pg_logical_slot_get_changes('cdc', NULL, NULL)")
        assert any("n[integer]:7" in row["data"] for row in changes)
    (listed,) = await logical.got("GET", "/replication-slots")
    assert listed["id"] == made["id"]
    assert listed["confirmed_flush_lsn"] > made["confirmed_flush_lsn"]
    kept = await logical.got("POST", "/replication-slots", {"name": "standby", "slot_type": "physical"})
    assert (kept["slot_type"], kept["plugin"], kept["database"]) == ("physical", "", None)
    assert kept["restart_lsn"] is not None
    settings = await logical.got("GET", f"{logical.project}/replication")
    assert settings["slots_count"] == 2
    await logical.got("DELETE", f"/replication-slots/{made['id']}")
    await logical.sleep()
    assert [one["name"] for one in await logical.got("GET", "/replication-slots")] == ["standby"]
    assert (await logical.computes.status(str(logical.endpoint_id))).state == "idle"


async def test_logical_replication_stays_on_while_a_slot_is_left(logical: Branch) -> None:
    made = await logical.got("POST", "/replication-slots", {"name": "cdc"})
    async with logical.owner() as connection:
        await connection.execute("SELECT pg_create_logical_replication_slot('by_sql', 'pgoutput')")
    path = f"{logical.project}/replication"
    status, answer = await logical.ask("PATCH", path, {"enabled": False})
    assert (status, answer["code"]) == (409, "replication-slots-left")
    assert "by_sql of branch main, cdc of branch main" in answer["detail"]
    await logical.got("DELETE", f"/replication-slots/{made['id']}")
    async with logical.owner() as connection:
        await connection.execute("SELECT pg_drop_replication_slot('by_sql')")
    assert (await logical.got("PATCH", path, {"enabled": False}))["enabled"] is False
    status, answer = await logical.ask("POST", "/replication-slots", {"name": "cdc"})
    assert (status, answer["code"]) == (403, "logical-replication-off")
    await logical.sleep()
    async with logical.owner() as connection:
        assert await connection.fetchval("SHOW wal_level") == "replica"
    # Turned on again it is heeded by the next start, and until then that is said.
    assert (await logical.got("PATCH", path, {"enabled": True}))["enabled"] is True
    status, answer = await logical.ask("POST", "/replication-slots", {"name": "cdc"})
    assert (status, answer["code"]) == (409, "logical-replication-after-restart")
    assert await logical.got("GET", "/replication-slots") == []
    await logical.runner.drain()
    await logical.got("POST", "/replication-slots", {"name": "cdc"})


async def test_a_slot_made_by_sql_at_the_last_moment_does_not_keep_it_from_starting(logical: Branch) -> None:
    path = f"{logical.project}/replication"
    await logical.got("PATCH", path, {"enabled": False})
    async with logical.owner() as connection:
        await connection.execute("SELECT pg_create_logical_replication_slot('by_sql', 'pgoutput')")
    await logical.got("GET", "/replication-slots")
    await logical.sleep()
    async with logical.owner() as connection:
        assert await connection.fetchval("SHOW wal_level") == "logical"
    (left,) = await logical.got("GET", "/replication-slots")
    await logical.got("DELETE", f"/replication-slots/{left['id']}")
    await logical.sleep()
    async with logical.owner() as connection:
        assert await connection.fetchval("SHOW wal_level") == "replica"


async def test_what_is_refused_says_why(logical: Branch) -> None:
    for name in ("one", "two", "three", "four"):
        await logical.got("POST", "/replication-slots", {"name": name})
    for method, path, body, status, code in [
        ("POST", "/replication-slots", {"name": "one"}, 400, "replication-slot-exists"),
        ("POST", "/replication-slots", {"name": "five"}, 409, "too-many-replication-slots"),
        ("POST", "/replication-slots", {"name": "Five"}, 400, "invalid-request"),
        ("POST", "/replication-slots", {"name": "x" * 64}, 400, "invalid-request"),
        ("POST", "/replication-slots", {"name": "x", "plugin": "/tmp/evil"}, 400, "invalid-request"),
        ("POST", "/replication-slots", {"name": "x", "slot_type": "other"}, 400, "invalid-request"),
        ("POST", "/replication-slots", {"name": "x", "database": "nothing"}, 400, "invalid-request"),
        ("DELETE", f"/replication-slots/{uuid4()}", None, 404, "not-found"),
    ]:
        found, answer = await logical.ask(method, path, body)
        assert (found, answer["code"]) == (status, code), (method, path, answer)
    assert len(await logical.got("GET", "/replication-slots")) == 4


async def test_an_open_transaction_in_the_way_leaves_no_half_slot(
    logical: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        __import__("control.postgres.inside", fromlist=["SQL"]).SQL.by_name,
        "careful",
        "SELECT pg_catalog.set_config('statement_timeout', '1s', false)",
    )
    async with logical.owner() as connection, connection.transaction():
        await connection.execute("INSERT INTO orders VALUES (1)")
        status, answer = await logical.ask("POST", "/replication-slots", {"name": "cdc"})
    assert (status, answer["code"]) == (409, "database-busy")
    assert await logical.got("GET", "/replication-slots") == []
    await logical.got("POST", "/replication-slots", {"name": "cdc"})
