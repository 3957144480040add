from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from aiohttp import ClientResponse

from control.api.ports import Ports
from control.bootstrap import ensure_operator
from gateway.kit.sql import Pool
from gateway.ledger import accounts, grants, moves
from gateway.metering import gauges, metrics
from tests.control.conftest import LIVE_USDC, TEST_CENT, TEST_USDC, Client, Member, refused_fields
from tests.control.promotions import get, offering, post, promotional

BUDGET = "/platform/promotions/budget"


@pytest.fixture
async def operator(pool: Pool, member: Member) -> dict[str, str]:
    return {"Authorization": f"Bearer {await ensure_operator(pool)}"}


@pytest.fixture
def at(member: Member) -> str:
    return f"/platform/organizations/{member.organization_id}/grants"


async def test_the_operator_fills_the_budget_and_gives_from_it(
    client: Client, pool: Pool, member: Member, operator: dict[str, str], at: str
) -> None:
    wanted = {"asset_id": str(TEST_USDC), "amount": "2"}
    assert await post(client, at, json=wanted, headers=operator) == (409, "promotion-budget-empty")
    body = {"asset_id": str(TEST_USDC), "amount": "10.5", "source": "bank"}
    status, filled = await post(client, BUDGET, json=body, headers=operator)
    assert (status, filled) == (
        201,
        {
            "asset_id": str(TEST_USDC),
            "asset_symbol": "USDC",
            "network": "eip155:84532",
            "mode": "test",
            "budget_atomic": 10_500_000,
            "outstanding_atomic": 0,
        },
    )
    expires_at = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    status, given = await post(
        client, at, json={**wanted, "description": "Sorry", "expires_at": expires_at}, headers=operator
    )
    assert status == 201
    assert (given["amount_atomic"], given["spent_atomic"], given["reason"]) == (2_000_000, 0, "gift")
    assert datetime.fromisoformat(given["expires_at"]) == datetime.fromisoformat(expires_at)
    assert await promotional(pool, member) == 2_000_000
    listed = await client.get(at, headers=operator)
    page = await listed.json()
    assert (page["data"], page["pagination"]["total"]) == ([given], 1)
    budgets = {one["asset_id"]: one for one in await get(client, "/platform/promotions", operator)}
    assert set(budgets) == {str(TEST_USDC), str(TEST_CENT), str(LIVE_USDC)}
    assert budgets[str(TEST_USDC)]["budget_atomic"] == 8_500_000
    assert budgets[str(TEST_USDC)]["outstanding_atomic"] == 2_000_000
    lines = (await get(client, "/wallet/transactions"))["transactions"]
    assert [(one["source"], one["description"]) for one in lines] == [("admin_grant", "Sorry")]
    audited = await pool.fetch(
        "SELECT action FROM audit_logs WHERE action LIKE 'promotions%' ORDER BY created_at"
    )
    assert [row["action"] for row in audited] == ["promotions.fill", "promotions.give"]


async def test_a_request_that_is_sent_again_gives_once(
    client: Client, pool: Pool, member: Member, operator: dict[str, str], at: str
) -> None:
    keyed = {**operator, "Idempotency-Key": "once"}
    body = {"asset_id": str(TEST_USDC), "amount": "10", "source": "bank"}
    answers = [await post(client, BUDGET, json=body, headers=keyed) for _ in range(2)]
    assert answers[0] == answers[1]
    keyed = {**operator, "Idempotency-Key": "grant"}
    answers = [
        await post(client, at, json={"asset_id": str(TEST_USDC), "amount": "1"}, headers=keyed)
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert await promotional(pool, member) == 1_000_000


async def test_fees_fill_the_budget_as_far_as_there_are_some(
    client: Client, pool: Pool, operator: dict[str, str]
) -> None:
    fees = await accounts.ensure(pool, accounts.PLATFORM, TEST_USDC, "fees")
    bank = await accounts.ensure(pool, accounts.PLATFORM, TEST_USDC, "bank")
    await moves.move(pool, "deposit", uuid4(), "fees", {bank: -1_000_000, fees: 1_000_000})
    body = {"asset_id": str(TEST_USDC), "amount": "1.000001", "source": "fees"}
    assert await post(client, BUDGET, json=body, headers=operator) == (409, "fees-too-low")
    status, filled = await post(client, BUDGET, json={**body, "amount": "1"}, headers=operator)
    assert (status, filled["budget_atomic"]) == (201, 1_000_000)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"amount": "0"}, ["body/amount"]),
        ({"amount": "0.0000001"}, ["body/amount"]),
        ({"amount": "-1"}, ["body/amount"]),
        ({"amount": 1}, ["body/amount"]),
        ({"amount": "1" + "0" * 12}, ["body/amount"]),
        ({"asset_id": str(uuid4())}, ["body/asset_id"]),
        ({"more": 1}, ["body/more"]),
    ],
)
async def test_what_makes_no_sense_is_400(
    client: Client, operator: dict[str, str], at: str, change: dict[str, object], fields: list[str]
) -> None:
    body = {"asset_id": str(TEST_USDC), "amount": "1"} | change
    for path, more in ((at, {}), (BUDGET, {"source": "bank"})):
        response: ClientResponse = await client.post(path, json=body | more, headers=operator)
        assert await refused_fields(response) == fields


@pytest.mark.parametrize(
    "expires_at", ["2020-01-01T00:00:00Z", "2500-01-01T00:00:00Z", "2030-01-01T00:00:00", "soon"]
)
async def test_a_grant_expires_in_the_future(
    client: Client, operator: dict[str, str], at: str, expires_at: str
) -> None:
    body = {"asset_id": str(TEST_USDC), "amount": "1", "expires_at": expires_at}
    response = await client.post(at, json=body, headers=operator)
    assert await refused_fields(response) == ["body/expires_at"]


async def test_only_the_operator_gives(client: Client, operator: dict[str, str], at: str) -> None:
    body = {"asset_id": str(TEST_USDC), "amount": "1"}
    assert (await client.post(at, json=body)).status == 403
    assert (await client.post(BUDGET, json={**body, "source": "bank"})).status == 403
    for path in (at, "/platform/promotions"):
        assert (await client.get(path)).status == 403
    unknown = f"/platform/organizations/{uuid4()}/grants"
    assert (await client.post(unknown, json=body, headers=operator)).status == 404
    assert (await client.get(unknown, headers=operator)).status == 404


async def test_what_expires_goes_back_and_the_wallet_says_why(
    client: Client, pool: Pool, member: Member, operator: dict[str, str], at: str
) -> None:
    body = {"asset_id": str(TEST_USDC), "amount": "5"}
    await client.post(BUDGET, json={**body, "source": "bank"}, headers=operator)
    await client.post(at, json={**body, "description": "Welcome"}, headers=operator)
    await pool.execute("UPDATE grants SET expires_at = now()")
    assert await grants.expire(pool) == 1
    lines = (await get(client, "/wallet/transactions"))["transactions"]
    assert [(one["source"], one["description"]) for one in lines] == [
        ("promotion_expired", "Expired: Welcome"),
        ("admin_grant", "Welcome"),
    ]
    assert (await get(client, "/wallet/balance"))["balance_atomic"] == 0


async def test_a_low_budget_is_seen_when_something_is_offered(
    pool: Pool, ports: Ports, member: Member
) -> None:
    def low() -> list[float]:
        samples = next(iter(metrics.PROMOTION_BUDGET_LOW.collect())).samples
        return [one.value for one in samples if one.labels["network"] == "eip155:84532"]

    await gauges.look_at_promotions(pool, ports.settings)
    assert low() == [0]
    offered = offering(ports, daily_claim="0.1", low_budget="5").settings
    await gauges.look_at_promotions(pool, offered)
    assert low() == [1]
    await grants.fill(pool, TEST_USDC, 5_000_000, "bank", uuid4())
    await gauges.look_at_promotions(pool, offered)
    assert low() == [0]
