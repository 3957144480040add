"""Usage by project, the billing of endpoints, its health, and what /v1 shows of it."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from control.metering import rollups
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join
from tests.control.test_consumption import metered, project
from tests.control.test_invoices import operator, seller, used

__all__ = ["operator"]

DAYS = {"start_date": "2026-03-31", "end_date": "2026-04-01"}


async def test_usage_of_each_project_by_size(client: Client, pool: Pool, member: Member) -> None:
    busy, idle = await project(client), await project(client)
    await metered(pool, busy)
    response = await client.get(f"/billing/usage/{member.organization_id}", params=DAYS)
    one, other = (await response.json())["data"]
    assert (one["project_id"], other["project_id"]) == (str(busy), str(idle))
    assert (one["compute_hours_medium"], one["compute_hours_small"]) == (2, 0)
    assert one["storage_gb_avg"] == pytest.approx(1 / 48)
    # The free plan has no prices.
    assert (one["compute_cost_usd"], one["total_cost_usd"]) == ("0.00", "0.00")
    chosen = await client.get("/plans")
    pro = next(plan for plan in (await chosen.json())["data"] if plan["name"] == "pro")
    live, chosen_one = await bearer(pool, member.id, mode="live"), {"plan_id": pro["id"]}
    response = await client.post("/organizations/default/plan", json=chosen_one, headers=live)
    assert response.status == 200
    response = await client.get("/billing/usage/default", params=DAYS)
    assert (await response.json())["data"][0]["compute_cost_usd"] == "0.64"
    foreign = (await join(pool)).headers
    assert (await client.get(f"/billing/usage/{member.organization_id}", headers=foreign)).status == 404
    backwards = {"start_date": "2026-04-01", "end_date": "2026-03-01"}
    assert (await client.get("/billing/usage/default", params=backwards)).status == 400


async def test_what_is_known_of_an_endpoint(client: Client, pool: Pool, member: Member) -> None:
    endpoint = await metered(pool, await project(client))
    url = f"/organizations/default/billing/endpoints/{endpoint}/events"
    data = (await (await client.get(url)).json())["data"]
    assert [one["event_type"] for one in data["compute_usage_events"]] == ["stopped", "started"]
    assert {(one["event_type"], one["unit"]) for one in data["usage_events"]} == {
        ("storage_byte_hours", "byte-hours"),
        ("written_bytes", "bytes"),
        ("egress_bytes", "bytes"),
    }
    other = await join(pool)
    assert (await client.get(url, headers=other.headers)).status == 404
    unknown = f"/organizations/default/billing/endpoints/{uuid4()}/events"
    assert (await client.get(unknown)).status == 404


async def test_health_compares_sums_with_calls(
    client: Client, pool: Pool, member: Member, operator: dict[str, str]
) -> None:
    async def health() -> tuple[bool, bool, int]:
        response = await client.get("/billing/health", headers=operator)
        data = (await response.json())["data"]
        names = ("daily_aggregation_ok", "has_recent_daily_run", "daily_aggregation_failures_total")
        return tuple(data[name] for name in names)

    assert await health() == (False, False, 0)
    now = datetime.now(UTC)
    await used(pool, member.id.organization_id, await seller(pool), [100, 200], at=now)
    await rollups.roll_up(pool)
    assert await health() == (True, True, 0)
    await used(pool, member.id.organization_id, await seller(pool), [100], at=now)
    # Not counted yet is not wrong.
    assert await health() == (True, True, 0)
    await pool.execute("UPDATE usage_days SET cost = cost + 1")
    assert await health() == (False, True, 1)
    await pool.execute("UPDATE rollup_marks SET rolled_at = now() - interval '2 minutes'")
    assert (await health())[1] is False
    assert (await client.get("/billing/health")).status == 403


async def test_v1_shows_the_plan(client: Client, stranger: Client, pool: Pool, member: Member) -> None:
    live = await bearer(pool, member.id, mode="live")
    shown = await (await client.get("/v1/billing/subscription")).json()
    assert (shown["tier"], shown["status"], shown["canceledAt"]) == ("free", "free", None)
    listed = (await (await stranger.get("/v1/billing/plans")).json())["plans"]
    assert [one["tier"] for one in listed] == ["pro", "team"]
    for tier in ("team", "pro"):
        product = next(one["productId"] for one in listed if one["tier"] == tier)
        chosen = await client.post("/organizations/default/plan", json={"plan_id": product}, headers=live)
        assert chosen.status == 200
        shown = await (await client.get("/v1/billing/subscription")).json()
        assert shown["tier"] == "team"
    assert (shown["status"], shown["canceledAt"] is None) == ("canceled", False)
    assert shown["currentPeriodEnd"].endswith("01T00:00:00.000Z")


async def test_v1_shows_what_a_project_used(client: Client, pool: Pool) -> None:
    project_id = await project(client)
    url = f"/v1/projects/{project_id}/usage"
    shown = await (await client.get(url)).json()
    assert (shown["tier"], shown["storage"]["bytes"], shown["invocations"]["count"]) == ("free", 0, 0)
    assert shown["limits"]["storageBytes"] == 1_000_000_000
    await metered(pool, project_id)
    span = {"from": "2026-03-31T00:00:00Z", "until": "2026-04-01T00:00:00Z"}
    shown = await (await client.get(url, params=span)).json()
    assert shown["storage"]["bytes"] == 10**9 // 24
    assert shown["periodEnd"] == "2026-04-01T00:00:00.000Z"
    for bad in ({"from": span["from"]}, {"from": span["until"], "until": span["from"]}, {"until": "x"}):
        assert (await client.get(url, params=bad)).status == 400
    foreign = (await join(pool)).headers
    assert (await client.get(url, headers=foreign)).status == 404
