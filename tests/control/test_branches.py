"""Branches by the API; what operations make of them is tested beside `control/postgres`."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import asyncpg
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.computes.local import LocalProvider
from control.computes.provider import ComputeSpec
from control.postgres import connecting, sweeping
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, join, refused_fields
from tests.control.databases import Json, asked, created, run
from tests.control.postgres.conftest import computes as computes
from tests.control.postgres.conftest import root as root

# Before the history that is kept, or after its end.
NEVER = {"lsn": "0/1", "timestamp": "2020-01-01T00:00:00Z"}


@pytest.fixture
async def project(client: Client) -> Json:
    return await created(client)


def of(project: Json, *rest: str) -> str:
    return "/".join([f"/projects/{project['id']}", *rest])


async def branch(client: Client, project: Json, name: str = "dev", **body: Any) -> Json:
    made: Json = (await asked(client, "POST", of(project, "branches"), 201, name=name, **body))["branch"]
    return made


async def test_a_project_is_used_from_its_creation_on(
    client: Client, project: Json, pool: Pool, ports: Ports, computes: LocalProvider
) -> None:
    assert (project["branch_count"], project["postgres_version"]) == (1, None)
    (main,) = await asked(client, "GET", of(project, "branches"))
    assert (main["name"], main["is_default"], main["state"]) == ("main", True, "init")
    assert main["id"] == project["default_branch_id"]
    early = await branch(client, project, "early")
    assert early["state"] == "init"
    # How to connect is known at once, and stays.
    at_once = await asked(client, "GET", of(project, "branches", early["id"], "connection-string"))
    await run(pool, ports, computes)
    await pool.execute("UPDATE operations SET due_at = now()")
    await run(pool, ports, computes)
    shown = await asked(client, "GET", of(project, "branches", early["id"]))
    assert (shown["state"], shown["parent_branch_id"]) == ("ready", main["id"])
    assert shown["logical_size_bytes"] > 1_000_000
    after = await asked(client, "GET", of(project))
    assert (after["postgres_version"], after["storage_bytes"] > 2_000_000) == ("18", True)
    size = await asked(client, "GET", of(project, "size"))
    assert size == {"project_id": project["id"], "size_bytes": after["storage_bytes"]}
    details = await asked(client, "GET", of(project, "branches", early["id"], "details"))
    assert (details["ancestor_timeline_id"], details["state"]) == (main["timeline_id"], "ready")
    states = {one["action"]: one["status"] for one in await asked(client, "GET", of(project, "operations"))}
    assert states == {"create_timeline": "finished", "create_branch": "finished"}
    # The password in the string is the server's.
    string = await asked(client, "GET", of(project, "branches", early["id"], "connection-string"))
    assert string == at_once
    password = string["connection_string"].partition("app:")[2].partition("@")[0]
    address = await computes.start("test", shown["timeline_id"], ComputeSpec())
    connection = await asyncpg.connect(
        host=str(address.sockets), user="app", password=password, database="app"
    )
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_connection_strings_lead_to_their_endpoint(client: Client, project: Json, pool: Pool) -> None:
    (endpoint,) = await asked(client, "GET", of(project, "endpoints"))
    label = endpoint["connection_string_direct"].rpartition("endpoint%3D")[2]
    assert label.startswith("ep-")
    where = of(project, "branches", project["default_branch_id"], "connection-string")
    direct = (await asked(client, "GET", where))["connection_string"]
    pooled = (await asked(client, "GET", f"{where}?pooled=true"))["connection_string"]
    assert direct.endswith(f"@gateway.example:6432/app?options=endpoint%3D{label}")
    assert pooled == f"{direct}-pooler"
    uri = await asked(client, "GET", of(project, "connection_uri"))
    assert uri == {"uri": direct}
    # A copy's rows are made in one go, and which of their ids is the least is a matter of chance.
    insert = "INSERT INTO databases (id, branch_id, name, owner_name) VALUES ($1, $2, 'aside', 'app')"
    await pool.execute(insert, UUID(int=1), UUID(project["default_branch_id"]))
    assert await asked(client, "GET", of(project, "connection_uri")) == uri
    uri = await asked(client, "GET", of(project, f"connection_uri?endpoint_id={endpoint['id']}&pooled=true"))
    assert uri == {"uri": pooled}
    for query in (f"branch_id={uuid4()}", f"endpoint_id={uuid4()}", "database_name=no", "role_name=no"):
        await asked(client, "GET", of(project, f"connection_uri?{query}"), 404)
    await asked(client, "GET", f"{where}?role=no", 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "main"}, 409),
        ({"name": ""}, 400),
        ({"name": "x" * 101}, 400),
        ({"name": "x", "surprise": 1}, 400),
        ({"name": "x", "parent_branch_id": str(uuid4())}, 404),
        ({"name": "x", "parent_lsn": "somewhere"}, 400),
        ({"name": "x", "parent_lsn": "0/1", "parent_timestamp": "2026-01-01T00:00:00Z"}, 400),
        ({"name": "x", "parent_timestamp": "2099-01-01T00:00:00Z"}, 400),
        ({"name": "x", "parent_timestamp": "2020-01-01T00:00:00Z"}, 400),
        ({"name": "x", "parent_timestamp": "2020-01-01T00:00:00"}, 400),
        ({"name": "x", "init_source": "elsewhere"}, 400),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, 400),
        ({"name": "x", "endpoints": [{"settings": {"compute_unit": "0.3"}}]}, 400),
        ({"name": "x", "endpoints": [{"settings": {"compute_unit": "99"}}]}, 400),
        ({"name": "x", "endpoints": [{"settings": {"nonsense": 1}}]}, 400),
        ({"name": "x", "endpoints": [{}, {}]}, 409),
        ({"name": "x", "endpoints": [{"endpoint_type": "both"}]}, 400),
    ],
)
async def test_a_branch_that_cannot_be(client: Client, project: Json, body: Json, status: int) -> None:
    await asked(client, "POST", of(project, "branches"), status, **body)
    assert (await asked(client, "GET", of(project, "branches", "count")))["count"] == 1


async def test_a_moment_to_come_is_refused_where_it_was_said(client: Client, project: Json) -> None:
    later = {"timestamp": "2099-01-01T00:00:00Z"}
    source = {"source": {"type": "^self", "point_in_time": later}, "preserve_under_name": "kept"}
    main = of(project, "branches", project["default_branch_id"])
    restored = await client.post(f"{main}/restore", json=source)
    assert await refused_fields(restored) == ["body/source/point_in_time/timestamp"]
    made = await client.post(
        of(project, "branches"), json={"name": "x", "parent_timestamp": later["timestamp"]}
    )
    assert await refused_fields(made) == ["body/parent_timestamp"]


async def test_a_branch_has_the_endpoints_that_were_asked_for(client: Client, project: Json) -> None:
    several = [{"settings": {"compute_unit": "1.00"}}, {"endpoint_type": "read_only"}]
    await client.patch(of(project), json={"compute_unit_max": 4})
    made = await asked(client, "POST", of(project, "branches"), 201, name="several", endpoints=several)
    assert [one["endpoint_type"] for one in made["endpoints"]] == ["read_write", "read_only"]
    assert made["endpoints"][1]["primary_endpoint_id"] == made["endpoints"][0]["id"]
    made = await asked(client, "POST", of(project, "branches"), 201, name="none", add_endpoint=False)
    assert (made["endpoints"], made["endpoint_error"]) == (None, None)
    where = of(project, "branches", made["branch"]["id"])
    told = await asked(client, "GET", f"{where}/connection-string", 404)
    assert "/endpoints makes one" in told["detail"]
    await asked(client, "DELETE", where)
    await asked(client, "GET", where, 404)


async def test_what_others_need_is_not_deleted(client: Client, project: Json, pool: Pool) -> None:
    main = of(project, "branches", project["default_branch_id"])
    for path, body in ((main, {}), (f"{main}/archived", {"archived": True})):
        told = await asked(client, "PATCH" if body else "DELETE", path, 400, **body)
        assert told["code"] == "branch-needed"
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await asked(client, "PATCH", f"{main}/expiration", 400, expires_at=soon)
    dev = await branch(client, project)
    await branch(client, project, "grandchild", parent_branch_id=dev["id"], add_endpoint=False)
    where = of(project, "branches", dev["id"])
    assert "endpoints" in (await asked(client, "DELETE", where, 400))["detail"]
    (endpoint,) = await asked(client, "GET", f"{where}/endpoints")
    await asked(client, "DELETE", of(project, "endpoints", endpoint["id"]))
    assert "children" in (await asked(client, "DELETE", where, 400))["detail"]
    assert "children" in (await asked(client, "POST", f"{where}/reset", 400, parent=True))["detail"]
    # Nor is a project with branches besides the default one.
    assert (await asked(client, "DELETE", of(project), 400))["code"] == "branch-needed"
    for name in ("grandchild", "dev"):
        found = await pool.fetchval("SELECT id FROM branches WHERE name = $1", name)
        await asked(client, "DELETE", of(project, "branches", str(found)))
    await asked(client, "DELETE", of(project))
    assert await pool.fetchval("SELECT count(*) FROM branches WHERE deleted_at IS NULL") == 0


async def test_a_deleted_project_sleeps_and_has_no_data_after_a_month(
    client: Client, project: Json, pool: Pool, ports: Ports, computes: LocalProvider
) -> None:
    await run(pool, ports, computes)
    (endpoint,) = await asked(client, "GET", of(project, "endpoints"))
    await asked(client, "POST", of(project, "endpoints", endpoint["id"], "start"))
    await run(pool, ports, computes)
    assert (await computes.status(endpoint["id"])).state == "active"
    await asked(client, "DELETE", of(project))
    await run(pool, ports, computes)
    assert await pool.fetchval("SELECT count(*) FROM operations WHERE status <> 'finished'") == 0
    assert (await computes.status(endpoint["id"])).state == "idle"
    timeline = await pool.fetchval("SELECT timeline_id FROM branches")
    long_ago = "UPDATE timelines SET created_at = now() - interval '1 year'"
    await pool.execute(long_ago)
    for days, state, count in ((29, "ready", 0), (31, "deleted", 1)):
        await pool.execute("UPDATE projects SET deleted_at = now() - make_interval(days => $1)", days)
        assert await sweeping.discard(pool, computes) == count
        assert (str(timeline) in computes.store.timelines()) == (state == "ready")
        assert await pool.fetchval("SELECT state FROM timelines") == state
    assert await pool.fetchval("SELECT count(*) FROM compute_runs") == 0


async def test_the_default_branch_is_whichever_was_said_last(client: Client, project: Json) -> None:
    first = project["default_branch_id"]
    dev = await branch(client, project)
    old, new = (of(project, "branches", one) for one in (first, dev["id"]))
    assert await asked(client, "POST", f"{new}/set-default") == {"id": dev["id"], "is_default": True}
    assert (await asked(client, "GET", of(project)))["default_branch_id"] == dev["id"]
    await asked(client, "POST", f"{old}/set_as_default")
    shown = {one["id"]: one["is_default"] for one in await asked(client, "GET", of(project, "branches"))}
    assert shown == {first: True, dev["id"]: False}
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await asked(client, "PATCH", f"{new}/expiration", expires_at=soon)
    await asked(client, "POST", f"{new}/set-default", 409)
    answers = await asyncio.gather(*[client.post(f"{one}/set-default") for one in (old, new) * 4])
    assert {one.status for one in answers} == {200, 409}


async def test_a_branch_is_renamed_archived_and_given_a_time(client: Client, project: Json) -> None:
    dev = await branch(client, project)
    where = of(project, "branches", dev["id"])
    assert (await asked(client, "PATCH", where, name="feature"))["name"] == "feature"
    await asked(client, "PATCH", where, 409, name="main")
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await asked(client, "PATCH", f"{where}/expiration", expires_at=soon))["expires_at"] is not None
    assert (await asked(client, "PATCH", f"{where}/expiration", expires_at=None))["expires_at"] is None
    told = await asked(client, "PATCH", f"{where}/archived", archived=True)
    assert (told["archived"], told["operation_id"] is not None) == (True, True)
    assert (await asked(client, "PATCH", f"{where}/archived", archived=True))["operation_id"] is None
    names = [one["name"] for one in await asked(client, "GET", of(project, "branches"))]
    assert names == ["main"]
    everything = await asked(client, "GET", of(project, "branches?include_archived=true"))
    assert [one["name"] for one in everything] == ["main", "feature"]
    assert (await asked(client, "GET", of(project, "branches", "count")))["count"] == 2


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ({"type": "^self", "point_in_time": {"lsn": "0/1"}}, 200),
        ({"type": "^self"}, 400),
        ({"type": "^self", "point_in_time": {"timestamp": "2099-01-01T00:00:00Z"}}, 400),
        ({"type": "^parent"}, 200),
        ({"type": "branch", "source_branch_id": str(uuid4())}, 404),
        ({"type": "elsewhere"}, 400),
        ({}, 400),
    ],
)
async def test_a_restore_keeps_what_was_there(
    client: Client, project: Json, source: Json, status: int
) -> None:
    dev = await branch(client, project)
    where = of(project, "branches", dev["id"])
    body = {"source": source, "preserve_under_name": "before"}
    told = await asked(client, "POST", f"{where}/restore", status, **body)
    if status == 200:
        assert told["backup_branch"]["name"] == "before"
        assert told["backup_branch"]["timeline_id"] == dev["timeline_id"]
        backup = of(project, "branches", told["backup_branch"]["id"])
        # What is being kept is not taken away, and one thing is done at a time.
        await asked(client, "DELETE", backup, 409)
        await asked(client, "POST", f"{backup}/endpoints", 409)
        await asked(client, "POST", f"{where}/restore", 409, source=source, preserve_under_name="again")
        await asked(client, "POST", f"{where}/reset", 409, parent=True)
    else:
        assert (await asked(client, "GET", of(project, "branches", "count")))["count"] == 2


@pytest.mark.parametrize(
    ("source", "pointer", "words"),
    [
        ({}, "source", "should have a 'type'"),
        ({"type": "x"}, "source", "should have a 'type' that is one of '^self', '^parent', 'branch'"),
        ({"type": "branch"}, "source/source_branch_id", "is required"),
        ({"type": "branch", "source_branch_id": 1}, "source/source_branch_id", "should be a UUID"),
        ({"type": "^parent", "parent": 1}, "source/parent", "is not a field here"),
        ({"type": "^self"}, "source/point_in_time", "is required"),
        *(
            ({"type": "^self", "point_in_time": point}, "source/point_in_time", words)
            for words in ["should be an object with either a timestamp or an lsn"]
            for point in ({}, 1, {"timestamp": "2026-01-01T00:00:00Z", "lsn": "0/1"})
        ),
        (
            {"type": "^parent", "point_in_time": {"lsn": "x"}},
            "source/point_in_time/lsn",
            "should be a position in the log like 0/16B3748",
        ),
    ],
)
async def test_what_is_wrong_with_a_restore_is_named_as_it_was_sent(
    client: Client, project: Json, source: Json, pointer: str, words: str
) -> None:
    where = of(project, "branches", project["default_branch_id"], "restore")
    problem = await (await client.post(where, json={"source": source, "preserve_under_name": "x"})).json()
    assert problem["errors"] == [{"pointer": f"body/{pointer}", "detail": words}]


async def test_a_reset_needs_a_parent(client: Client, project: Json) -> None:
    main = of(project, "branches", project["default_branch_id"])
    assert (await asked(client, "POST", f"{main}/reset", 409, parent=True))["code"] == "no-parent"
    response = await client.post(f"{main}/reset", json={"parent": False})
    assert await refused_fields(response) == ["body/parent"]


async def test_points_are_asked_of_who_knows(client: Client, project: Json, pool: Pool) -> None:
    main = of(project, "branches", project["default_branch_id"])
    await asked(client, "GET", f"{main}/lsn_by_timestamp?timestamp=2026-01-01T00:00:00Z", 409)
    await pool.execute("UPDATE timelines SET state = 'ready'; UPDATE branches SET state = 'ready'")
    # There is nobody in this test.
    await asked(client, "GET", f"{main}/lsn_by_timestamp?timestamp=2026-01-01T00:00:00Z", 503)
    await asked(client, "GET", f"{main}/timestamp_by_lsn?lsn=0/1", 503)
    await asked(client, "GET", f"{main}/timestamp_by_lsn?lsn=no", 400)
    await asked(client, "GET", f"{main}/lsn_by_timestamp?timestamp=no", 400)


async def test_a_moment_is_found_to_the_commit(
    pool: Pool, ports: Ports, member: Member, computes: LocalProvider, aiohttp_client: AiohttpClient
) -> None:
    asking = replace(ports, computes=computes)
    client: Client = await aiohttp_client(app.create(pool, asking), headers=member.headers)
    project = await created(client)
    await run(pool, ports, computes)
    main = project["default_branch_id"]
    where = of(project, "branches", main)
    async with connecting.as_owner(pool, computes, ports.keyring, UUID(main), "app") as owner:
        await owner.execute("CREATE TABLE kept (n int)")
        moments = []
        for number in range(3):
            await owner.execute("INSERT INTO kept VALUES ($1)", number)
            moments.append(await owner.fetchval("SELECT clock_timestamp()"))
    found = []
    for moment in moments:
        query = urlencode({"timestamp": moment.isoformat()})
        found.append(await asked(client, "GET", f"{where}/lsn_by_timestamp?{query}"))
    assert [one["kind"] for one in found] == ["present", "present", "future"]
    told = await asked(client, "GET", f"{where}/timestamp_by_lsn?{urlencode({'lsn': found[1]['lsn']})}")
    assert moments[0] < datetime.fromisoformat(told["timestamp"]) < moments[1]
    made = await branch(client, project, "then", parent_lsn=found[1]["lsn"])
    await run(pool, ports, computes)
    async with connecting.as_owner(pool, computes, ports.keyring, UUID(made["id"]), "app") as owner:
        assert [row["n"] for row in await owner.fetch("SELECT n FROM kept")] == [0, 1]
    early = await asked(client, "GET", f"{where}/lsn_by_timestamp?timestamp=2020-01-01T00:00:00Z")
    assert early["kind"] == "past"
    await pool.execute("UPDATE projects SET created_at = now() - interval '10 years'")
    for _ in ("awake", "asleep"):
        for field, value in NEVER.items():
            made_of = {f"parent_{field}": value}
            answer = await client.post(of(project, "branches"), json={"name": "never", **made_of})
            assert await refused_fields(answer) == [f"body/parent_{field}"], value
            source = {"type": "^self", "point_in_time": {field: value}}
            body = {"source": source, "preserve_under_name": "kept"}
            assert await refused_fields(await client.post(f"{where}/restore", json=body)) == [
                f"body/source/point_in_time/{field}"
            ], value
        await asked(client, "POST", of(project, "branches"), 400, name="never", parent_lsn="F/0")
        await computes.stop_all()


async def test_others_branches_are_as_absent_as_unknown_ones(
    client: Client, project: Json, pool: Pool
) -> None:
    mine = await created(client)
    stranger = await join(pool)
    for where in (of(mine, "branches", project["default_branch_id"]), of(mine, "branches", str(uuid4()))):
        for rest in ("", "/details", "/endpoints", "/protection", "/connection-string"):
            assert (await client.get(where + rest)).status == 404, where + rest
        assert (await client.post(f"{where}/reset", json={"parent": True})).status == 404
    for path in (of(project, "branches"), of(project, "endpoints"), of(project, "operations")):
        assert (await client.get(path, headers=stranger.headers)).status == 404


async def test_of_many_who_want_a_name_one_has_it(client: Client, project: Json) -> None:
    where = of(project, "branches")
    answers = await asyncio.gather(*[client.post(where, json={"name": "dev"}) for _ in range(8)])
    assert sorted(one.status for one in answers) == [201] + [409] * 7
    assert len(await asked(client, "GET", of(project, "endpoints"))) == 2
