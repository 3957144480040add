import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from control.analytics import rules
from control.analytics.store import SQL
from control.metering import rollups
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import usage
from gateway.ledger.usage import Usage
from gateway.metering.usage import Recorder
from tests.control.conftest import LIVE_USDC, TEST_CENT, TEST_USDC, Client, Member, bearer, join
from tests.control.money import Money, money

__all__ = ["money"]

TODAY = datetime.now(UTC).date()
PAYER = "0x" + "9a" * 20


def used(money: Money, cost: int = 0, **other: Any) -> Usage:
    event = Usage(
        ids.new(), money.publisher_id, None, PAYER, "x402", "GET", "/today", "charged", 200, TEST_USDC, cost
    )
    return replace(event, **other)


async def record(money: Money, *events: Usage, days_ago: int = 0) -> None:
    await usage.record(money.pool, events)
    await money.pool.execute(
        "UPDATE usage_events SET created_at = created_at - $2::interval WHERE call_id = ANY ($1)",
        [one.call_id for one in events],
        timedelta(days=days_ago),
    )
    await rollups.roll_up(money.pool)


async def ask(client: Client, money: Money, path: str, **headers: str) -> Any:
    at = f"/organizations/default/publishers/{money.publisher_id}/analytics/{path}"
    response = await client.get(at, headers=headers)
    assert response.status == 200, await response.text()
    return await response.json()


async def test_a_publisher_that_nobody_called_earned_nothing(client: Client, money: Money) -> None:
    found = await ask(client, money, "revenue")
    assert (found["total_revenue_atomic"], found["avg_query_cost_atomic"]) == (0, 0)
    assert (found["revenue_change_pct"], found["conversion_pct"]) == (0, None)
    assert await ask(client, money, "top-agents") == await ask(client, money, "routes") == []


async def test_revenue_is_compared_with_the_days_before(client: Client, money: Money) -> None:
    await record(money, used(money, 400), used(money, 100, payer="0x" + "9b" * 20), days_ago=12)
    await record(money, used(money, 999), days_ago=40)
    await record(
        money,
        used(money, 600),
        used(money, 0, outcome="upstream_failed", status=502, rail="free", asset_id=None, payer=None),
        used(money, 2, asset_id=TEST_CENT),
    )
    found = await ask(client, money, "revenue?days=10")
    assert found == {
        "total_revenue_atomic": 20_600, "total_revenue": "0.0206", "active_agents": 1, "total_queries": 3,
        "avg_query_cost_atomic": 6866, "revenue_change_pct": 4020, "agents_change_pct": -50,
        "queries_change_pct": 50, "period_start": str(TODAY - timedelta(days=9)), "period_end": str(TODAY),
        "charged_queries": 2, "direct_charges": 0, "direct_charges_atomic": 0, "refunded_atomic": 0,
        "failed_queries": 1, "failed_pct": 33.33, "offers": 0,
        "conversion_pct": None,
    }  # fmt: skip


async def test_offers_become_a_conversion(client: Client, pool: Pool, money: Money) -> None:
    recorder = Recorder(pool)
    for _ in range(8):
        recorder.offered(money.publisher_id)
    await recorder.flush()
    recorder.offered(money.publisher_id)
    await recorder.flush()
    await record(money, *(used(money, 5) for _ in range(3)))
    found = await ask(client, money, "revenue")
    assert (found["offers"], found["conversion_pct"]) == (9, 33.33)


async def test_each_day_is_there_and_they_sum_to_the_total(client: Client, money: Money) -> None:
    for days_ago, cost in ((0, 7), (2, 5), (2, 6)):
        await record(money, used(money, cost), days_ago=days_ago)
    by_day = await ask(client, money, "revenue-by-day?days=4")
    assert [one["date"] for one in by_day] == [str(TODAY - timedelta(days=n)) for n in (3, 2, 1, 0)]
    assert [one["revenue_atomic"] for one in by_day] == [0, 11, 0, 7]
    assert [one["unique_agents"] for one in by_day] == [0, 1, 0, 1]
    total = await ask(client, money, "revenue?days=4")
    assert sum(one["revenue_atomic"] for one in by_day) == total["total_revenue_atomic"]


async def test_a_wallet_and_its_organization_are_one_agent(client: Client, pool: Pool, money: Money) -> None:
    other = await join(pool)
    await pool.execute(
        "INSERT INTO agent_wallets (address, organization_id) VALUES ($1, $2)",
        PAYER,
        other.id.organization_id,
    )
    await record(money, used(money, 10), used(money, 5, organization_id=other.id.organization_id, payer=None))
    await record(money, used(money, 12, payer="0x" + "9b" * 20))
    await record(money, used(money, 1, organization_id=money.owner, payer=None))
    await money.deposit(3_000_000)
    top = await ask(client, money, "top-agents")
    assert [(one["rank"], one["agent_wallet"], one["total_spent_atomic"]) for one in top] == [
        (1, PAYER, 15),
        (2, "0x" + "9b" * 20, 12),
        (3, str(money.owner), 1),
    ]
    assert [one["balance_atomic"] for one in top] == [0, 0, 3_000_000]
    assert [one["query_count"] for one in top] == [2, 1, 1]
    assert len(await ask(client, money, "top-agents?limit=1")) == 1
    assert (await ask(client, money, "revenue"))["active_agents"] == 3


async def test_ids_in_paths_are_one_route(client: Client, money: Money) -> None:
    paths = ("/v1/orders/17", "/v1/orders/18", f"/v1/orders/{uuid4()}", "/v1/orders", "/v1/orders/17/items/3")
    await record(money, *(used(money, 10, path=path) for path in paths))
    await record(money, used(money, 0, path="/v1/orders/99", outcome="upstream_timeout", asset_id=None))
    routes = await ask(client, money, "routes")
    assert [(one["route"], one["query_count"], one["revenue_atomic"]) for one in routes] == [
        ("/v1/orders/{id}", 4, 30),
        ("/v1/orders", 1, 10),
        ("/v1/orders/{id}/items/{id}", 1, 10),
    ]
    assert [one["failed_queries"] for one in routes] == [1, 0, 0]


async def test_charges_without_a_call_are_on_no_route_and_in_the_revenue(
    client: Client, money: Money
) -> None:
    charge = {"method": "CHARGE", "path": "/", "rail": "prepaid"}
    await record(
        money, used(money, 30), used(money, 70, **charge), used(money, 5, asset_id=TEST_CENT, **charge)
    )
    (route,) = await ask(client, money, "routes")
    assert (route["method"], route["revenue_atomic"]) == ("GET", 30)
    found = await ask(client, money, "revenue")
    assert (found["direct_charges"], found["direct_charges_atomic"]) == (2, 50_070)
    assert found["total_revenue_atomic"] == route["revenue_atomic"] + found["direct_charges_atomic"]


async def test_paths_that_are_made_up_do_not_fill_the_table(
    client: Client, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "ROUTES_A_DAY_MAX", 3)
    await record(money, *(used(money, 1, path=f"/{letter}") for letter in "abcde"))
    await record(money, *(used(money, 1, path=f"/{letter}") for letter in "afg"))
    routes = {one["route"]: one["query_count"] for one in await ask(client, money, "routes")}
    assert routes == {"/a": 2, "/b": 1, "/c": 1, "other": 4}


async def test_live_and_test_sales_are_apart(
    client: Client, pool: Pool, money: Money, member: Member
) -> None:
    await record(money, used(money, 10), used(money, 3, asset_id=LIVE_USDC))
    live = await bearer(pool, member.id, mode="live")
    assert (await ask(client, money, "revenue"))["total_revenue_atomic"] == 10
    assert (await ask(client, money, "revenue", **live))["total_revenue_atomic"] == 3
    assert (await ask(client, money, "top-agents", **live))[0]["total_spent_atomic"] == 3


@pytest.mark.parametrize("path", ["revenue", "revenue-by-day", "top-agents", "routes"])
async def test_anothers_numbers_are_as_absent_as_none(
    client: Client, pool: Pool, money: Money, path: str
) -> None:
    other = await join(pool)
    for publisher_id in (money.publisher_id, uuid4()):
        at = f"/organizations/default/publishers/{publisher_id}/analytics/{path}"
        assert (await client.get(at, headers=other.headers)).status == 404


@pytest.mark.parametrize("query", ["days=0", "days=367", "days=x"])
async def test_a_period_has_bounds(client: Client, money: Money, query: str) -> None:
    at = f"/organizations/default/publishers/{money.publisher_id}/analytics/revenue?{query}"
    assert (await client.get(at)).status == 400


@pytest.mark.parametrize(
    ("now", "before", "percent"),
    [
        (0, 0, 0),
        (5, 0, 100),
        (0, 5, -100),
        (115, 100, 15),
        (1, 3, -67),
        (2, 3, -33),
        (3, 2, 50),
        (201, 200, 1),
    ],
)
def test_a_change_is_rounded_half_away_from_zero(now: int, before: int, percent: int) -> None:
    assert rules.change(now, before) == percent


async def test_what_is_asked_reads_days_and_not_calls(pool: Pool, client: Client, money: Money) -> None:
    """Or ten million calls would be read for each look."""
    await record(money, used(money, 1))
    scope: dict[str, tuple[Any, ...]] = {
        name: (money.publisher_id, TODAY, TODAY, "test")
        for name in ("totals", "agents", "by_day", "agents_by_day")
    }
    scope["direct_charges"] = scope["totals"]
    scope |= {"top_agents": (money.publisher_id, "test", 10), "offers": (money.publisher_id, TODAY, TODAY)}
    for name, args in scope.items():
        async with pool.acquire() as connection:
            await connection.execute("SET enable_seqscan = off")
            plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {getattr(SQL, name)}", *args)
        text = json.dumps(plan)
        assert "usage_events" not in text, name
        assert "Index Scan" in text, name
