"""Who gets in, and what it takes to be there."""

import asyncio
from dataclasses import replace

from pytest_aiohttp.plugin import AiohttpClient

from config.plans import Plan
from control import app
from control.api.ports import Ports
from control.computes.local import LocalProvider
from control.postgres import spending
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, join
from tests.control.postgres.conftest import root as root
from tests.control.studio import Studio
from tests.control.studio import computes as computes
from tests.control.studio import studio as studio


async def test_only_who_administers_the_project_gets_in(studio: Studio, pool: Pool, member: Member) -> None:
    stranger = await join(pool)
    response = await studio.client.get(f"{studio.at}/tables", headers=stranger.headers)
    assert response.status == 404
    project = studio.project["id"]
    for role, status in (("developer", 403), ("admin", 200)):
        body = {"name": "k", "role": role}
        issued = await (await studio.client.post(f"/v1/projects/{project}/api-keys", json=body)).json()
        headers = {"Authorization": f"Bearer {issued['plaintext']}"}
        response = await studio.client.get(f"{studio.at}/tables", headers=headers)
        assert response.status == status, (role, await response.text())


async def test_a_sleeping_database_is_woken_once_by_many(
    studio: Studio, computes: LocalProvider, pool: Pool
) -> None:
    endpoint = str(await pool.fetchval("SELECT id FROM endpoints"))
    await studio.table()
    await computes.stop(endpoint)
    assert (await computes.status(endpoint)).state == "idle"
    asked = "SELECT pg_postmaster_start_time()::text AS at FROM notes RIGHT JOIN (SELECT 1) AS one ON true"
    answers = await asyncio.gather(*(studio.sql(asked) for _ in range(10)))
    assert len({one["rows"][0]["at"] for one in answers}) == 1


async def test_a_plan_that_is_used_up_wakes_nothing(
    studio: Studio, ports: Ports, computes: LocalProvider, pool: Pool, member: Member,
    aiohttp_client: AiohttpClient,
) -> None:  # fmt: skip
    small = Plan(id="small", name="Small", quotas={"compute_seconds": 100})
    settings = ports.settings.model_copy(update={"plans": (small,)})
    served = app.create(pool, replace(ports, computes=computes, settings=settings))
    narrow = replace(studio, client=await aiohttp_client(served, headers=member.headers))
    await narrow.table()
    await pool.execute(
        "INSERT INTO meter_days (organization_id, project_id, meter, compute_units, day, quantity) "
        "SELECT organization_id, id, 'active_seconds', 1, (now() AT TIME ZONE 'UTC')::date, 100 FROM projects"
    )
    # What runs answers, until it is stopped.
    assert len((await narrow.get("/tables"))["tables"]) == 1
    await spending.stop(pool, computes, (small,))
    refused = await narrow.ask("GET", "/tables", 403)
    assert (refused["code"], refused["detail"]) == (
        "quota_exceeded", "the plan Small has room for 100 compute_seconds, and they are used",
    )  # fmt: skip
    await narrow.sql("SELECT 1", 403)
    assert await pool.fetchval("SELECT status FROM endpoints") == "idle"


async def test_a_project_from_before_gets_its_database_on_first_use(studio: Studio, pool: Pool) -> None:
    other = await (await studio.client.post("/v1/projects", json={"name": "Old"})).json()
    await pool.execute("DELETE FROM operations WHERE status = 'scheduling'")
    old = await pool.fetchval("SELECT id FROM projects WHERE name = 'Old'")
    for table in ("endpoints", "databases", "database_roles", "branches", "timelines"):
        where = (
            "project_id = $1"
            if table in ("endpoints", "branches", "timelines")
            else ("branch_id IN (SELECT id FROM branches WHERE project_id = $1)")
        )
        await pool.execute(f"DELETE FROM {table} WHERE {where}", old)
    found = replace(studio, project=other["project"])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(studio.runner.run())
        assert await asyncio.gather(*(found.get("/tables") for _ in range(3))) == [{"tables": []}] * 3
        running.cancel()
    assert await pool.fetchval("SELECT count(*) FROM branches WHERE project_id = $1", old) == 1


async def test_where_nobody_runs_databases_nothing_waits(pool: Pool, client: Client) -> None:
    project = (await (await client.post("/v1/projects", json={"name": "Notes"})).json())["project"]
    response = await client.get(f"/v1/projects/{project['id']}/studio/tables")
    assert response.status in (503,), await response.text()


async def test_what_a_tenant_sets_for_the_role_changes_nothing_here(studio: Studio) -> None:
    await studio.table("notes", {"name": "at", "type": "timestamptz"})
    for setting in (
        "search_path = elsewhere", "statement_timeout = 1", "datestyle = 'SQL, DMY'",
        "timezone = 'Asia/Tokyo'",
        "client_encoding = 'LATIN1'", "bytea_output = 'escape'",
        "standard_conforming_strings = off", "row_security = off", "enable_indexscan = off",
    ):  # fmt: skip
        await studio.sql(f"ALTER ROLE app SET {setting}")
    await studio.post("/tables/notes/rows", values={"id": 1, "at": "2026-01-31T12:00:00Z"})
    (row,) = (await studio.get("/tables/notes/rows"))["rows"]
    assert row == {"id": "1", "at": "2026-01-31T12:00:00Z"}
    assert [one["name"] for one in (await studio.get("/tables"))["tables"]] == ["notes"]


async def test_a_role_that_may_not_log_in_any_more_is_told(
    studio: Studio, pool: Pool, computes: LocalProvider
) -> None:
    assert await studio.get("/tables") == {"tables": []}
    admin = await computes.admin(str(await pool.fetchval("SELECT id FROM endpoints")))
    await admin.execute("ALTER ROLE app NOLOGIN")
    assert (await studio.ask("GET", "/tables", 409))["code"] == "session_refused"
    await admin.execute("ALTER ROLE app LOGIN CONNECTION LIMIT 0")
    assert (await studio.ask("GET", "/tables", 503))["code"] == "compute_unavailable"
    await admin.close()
    await pool.execute("UPDATE endpoints SET is_disabled = true")
    assert (await studio.ask("GET", "/tables", 409))["code"] == "endpoint_stopped"


async def test_a_server_that_is_killed_is_told_and_woken_again(
    studio: Studio, computes: LocalProvider, pool: Pool
) -> None:
    await studio.table()
    endpoint = str(await pool.fetchval("SELECT id FROM endpoints"))
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

    async def kill() -> None:
        admin = await computes.admin(endpoint)
        while not await admin.fetchval(sleeping):
            pass
        await admin.close()
        await computes.stop(endpoint, "immediate")

    told, _ = await asyncio.gather(
        studio.sql("INSERT INTO notes VALUES (1); SELECT pg_sleep(4)", 503), kill()
    )
    assert told["code"] == "compute_unavailable"
    assert (await studio.get("/tables/notes/rows"))["rows"] == []


async def test_one_key_inserts_one_row_however_many_ask_at_once(studio: Studio, pool: Pool) -> None:
    await studio.sql("CREATE TABLE t (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, n int)")
    headers = {"Idempotency-Key": "one"}
    answers = await asyncio.gather(
        *(
            studio.client.post(f"{studio.at}/tables/t/rows", json={"values": {"n": 1}}, headers=headers)
            for _ in range(6)
        )
    )
    # Who comes while the first is at it is told so, and nobody inserts another.
    assert {one.status for one in answers} <= {201, 409}
    assert [one.status for one in answers].count(201) >= 1
    assert len((await studio.get("/tables/t/rows"))["rows"]) == 1
    logged = "SELECT count(*) FROM audit_logs WHERE action = 'studio_insert_row' AND status = 'success'"
    assert await pool.fetchval(logged) == 1
