"""Endpoints by the API, as rows; what starts and stops them is tested beside `control/postgres`."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from config.plans import Plan
from control import app
from control.api.ports import Ports
from control.computes.local import LocalProvider
from control.postgres import connecting
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member
from tests.control.databases import Json, asked, created, run
from tests.control.postgres.conftest import computes as computes
from tests.control.postgres.conftest import root as root


@pytest.fixture
async def project(client: Client) -> Json:
    return await created(client, compute_unit_max=8)


async def ways(client: Client, project: Json) -> tuple[Json, str, str]:
    """The endpoint, and its two paths."""
    (endpoint,) = await asked(client, "GET", f"/projects/{project['id']}/endpoints")
    top = f"/projects/{project['id']}"
    return (
        endpoint,
        f"{top}/endpoints/{endpoint['id']}",
        f"{top}/branches/{endpoint['branch_id']}/endpoints/{endpoint['id']}",
    )


async def test_an_endpoint_is_started_and_stopped(
    client: Client, project: Json, pool: Pool, ports: Ports, computes: LocalProvider
) -> None:
    await run(pool, ports, computes)
    endpoint, short, long = await ways(client, project)
    assert (endpoint["status"], endpoint["active_time_seconds"]) == ("idle", 0)
    told = await asked(client, "POST", f"{long}/start")
    assert (told["status"], told["k8s_ready"]) == ("starting", False)
    await asked(client, "POST", f"{long}/start", 400)
    await run(pool, ports, computes)
    told = await asked(client, "GET", f"{long}/status")
    assert (told["status"], told["k8s_ready"], told["compute_status"]) == ("active", True, "active")
    # Nobody in this test can say it.
    assert told["why_active"] is None
    await asked(client, "POST", f"{short}/restart")
    await run(pool, ports, computes)
    assert (await computes.status(endpoint["id"])).state == "active"
    await asked(client, "PATCH", short, compute_unit="1")
    await run(pool, ports, computes)
    spec = next(iter(computes.computes[endpoint["timeline_id"]].endpoints.values()))
    assert str(spec.units) == "1.00"
    await asked(client, "POST", f"{long}/stop")
    await run(pool, ports, computes)
    told = await asked(client, "GET", f"{long}/status")
    assert (told["status"], told["compute_status"]) == ("idle", "stopped")
    (shown,) = await asked(client, "GET", f"/projects/{project['id']}/endpoints")
    assert (shown["active_time_seconds"] > 0, shown["last_active_at"] is not None) == (True, True)
    assert await pool.fetchval("SELECT count(*) FROM compute_runs") == 0
    await asked(client, "POST", f"{short}/start")
    await run(pool, ports, computes)
    await asked(client, "POST", f"{short}/suspend")
    await run(pool, ports, computes)
    assert (await asked(client, "GET", f"{long}/status"))["compute_status"] == "idle"


async def test_who_wonders_why_it_does_not_sleep_is_told(
    pool: Pool, ports: Ports, member: Member, computes: LocalProvider, aiohttp_client: AiohttpClient
) -> None:
    asking = replace(ports, computes=computes)
    client: Client = await aiohttp_client(app.create(pool, asking), headers=member.headers)
    endpoint, short, long = await ways(client, await created(client))
    await run(pool, ports, computes)
    assert (await asked(client, "GET", f"{long}/status"))["why_active"] == []
    assert (await asked(client, "POST", f"{short}/start"))["why_active"] is None
    await run(pool, ports, computes)
    (reason,) = (await asked(client, "GET", f"{long}/status"))["why_active"]
    assert reason.endswith(" seconds ago, and sleeps after 300")
    async with connecting.as_owner(
        pool, computes, ports.keyring, UUID(endpoint["branch_id"]), "app"
    ) as owner:
        (compute,) = computes.computes.values()
        compute.used_at -= 301
        await owner.execute("BEGIN")
        reasons = (await asked(client, "GET", f"{long}/status"))["why_active"]
        assert any(one.endswith(" is idle in transaction") for one in reasons)


async def test_who_wonders_why_it_is_not_woken_is_told(
    pool: Pool, ports: Ports, member: Member, computes: LocalProvider, aiohttp_client: AiohttpClient
) -> None:
    small = Plan(id="small", name="Small", quotas={"compute_seconds": 100})
    settings = ports.settings.model_copy(update={"plans": (small,)})
    asking = replace(ports, computes=computes, settings=settings)
    client: Client = await aiohttp_client(app.create(pool, asking), headers=member.headers)
    _, _, long = await ways(client, project := await created(client))
    await run(pool, ports, computes)
    assert (await asked(client, "GET", f"{long}/status"))["why_asleep"] is None
    await pool.execute(
        "INSERT INTO meter_days (organization_id, project_id, meter, compute_units, day, quantity) "
        "VALUES ($1, $2, 'active_seconds', 1, (now() AT TIME ZONE 'UTC')::date, 100)",
        UUID(member.organization_id), UUID(project["id"]),
    )  # fmt: skip
    told = "the plan Small has room for 100 compute_seconds, and they are used"
    assert (await asked(client, "GET", f"{long}/status"))["why_asleep"] == told
    await asked(client, "POST", f"{long}/start", 403)
    await asked(client, "POST", f"{long}/stop")
    told = "somebody stopped this endpoint: start it first"
    assert (await asked(client, "GET", f"{long}/status"))["why_asleep"] == told


async def test_a_branch_has_one_endpoint_that_writes(client: Client, project: Json) -> None:
    endpoint, short, _ = await ways(client, project)
    where = f"/projects/{project['id']}/branches/{endpoint['branch_id']}/endpoints"
    await asked(client, "POST", where, 409)
    made = await asked(client, "POST", where, 201, endpoint_type="read_only", name="reports")
    assert (made["name"], made["primary_endpoint_id"]) == ("reports", endpoint["id"])
    assert made["connection_string_pooled"].endswith("-pooler")
    assert len(await asked(client, "GET", where)) == 2
    await asked(client, "DELETE", short)
    await asked(client, "DELETE", short, 404)
    await asked(client, "POST", where, 201, pooler_enabled=False)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"compute_unit": "8"}, 200),
        ({"compute_unit": "8.25"}, 400),
        ({"compute_unit": "17"}, 400),
        ({"compute_unit": "0"}, 400),
        ({"compute_unit": "0.1"}, 400),
        ({"compute_unit": 1}, 400),
        ({"autoscaling_min": 3}, 400),
        ({"autoscaling_min": 3, "autoscaling_max": 4}, 200),
        ({"suspend_timeout_seconds": -1}, 400),
        ({"suspend_timeout_seconds": 0}, 200),
        ({"pooler_mode": "statement"}, 400),
        ({"pooler_enabled": False, "pooler_mode": "session"}, 200),
        ({"surprise": 1}, 400),
    ],
)
async def test_settings(client: Client, project: Json, body: dict[str, Any], status: int) -> None:
    _, short, long = await ways(client, project)
    for path in (short, long):
        told = await asked(client, "PATCH", path, status, **body)
        if status == 200:
            assert all(str(told[name]).removesuffix(".00") == str(body[name]) for name in body)
