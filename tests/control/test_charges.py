"""Charges without a call: what they take, what is given back, and who may."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from config.money import Fees
from control.api.ports import Ports
from control.bootstrap import ensure_operator
from control.identity import people
from control.identity.people import Newcomer
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.ledger.accounts import PLATFORM
from gateway.x402.deposits import link
from tests.arrivals import arrive
from tests.control.conftest import (
    LIVE_USDC,
    NETWORKS,
    TEST_CENT,
    TEST_USDC,
    Client,
    Member,
    bearer,
    join,
    ports_with,
    refused_fields,
)
from tests.control.test_publishers import NEW, created
from tests.gateway.conftest import Ledger

AT = "/billing/publishers/weather/charges"
WALLET = "0x" + "A7" * 20


@pytest.fixture
def ports() -> Ports:
    ports = ports_with(NETWORKS)
    fees = Fees(platform_basis_points=1000)
    return Ports(ports.guard, ports.keyring, ports.modes, ports.settings.model_copy(update={"fees": fees}))


@dataclass(frozen=True, slots=True)
class Shop:
    """A first-party publisher, and an agent with a wallet."""

    client: Client
    pool: Pool
    publisher_id: UUID
    seller: UUID
    agent: Member
    operator: dict[str, str]

    async def fund(self, amount: int, asset_id: UUID = TEST_USDC) -> None:
        account = await accounts.ensure(self.pool, self.agent.id.organization_id, asset_id, "funded")
        await arrive(self.pool, account, asset_id, amount, "Deposit")

    async def charge(self, amount: int, **more: Any) -> Any:
        body = {"agent_wallet": WALLET, "amount_atomic": amount, "description": "a report", **more}
        return await self.client.post(AT, json=body)

    async def charged(self, amount: int, **more: Any) -> dict[str, Any]:
        response = await self.charge(amount, **more)
        assert response.status == 200, await response.text()
        charge: dict[str, Any] = await response.json()
        return charge

    async def refund(self, charge: dict[str, Any], amount: int | None = None) -> tuple[int, Any]:
        body = {"reason": "it was late", "amount_atomic": amount}
        response = await self.client.post(f"{AT}/{charge['id']}/refund", json=body)
        return response.status, await response.json()

    async def slash(self, charge: dict[str, Any], amount: int) -> tuple[int, str]:
        body = {"reason": "it was abused", "slash_amount_atomic": amount}
        response = await self.client.post(f"{AT}/{charge['id']}/slash", json=body)
        return response.status, "" if response.status == 204 else (await response.json())["code"]

    async def funded(self, asset_id: UUID = TEST_USDC) -> int:
        return await self.balance(self.agent.id.organization_id, "funded", asset_id)

    async def earned(self, asset_id: UUID = TEST_USDC) -> int:
        return await self.balance(self.seller, "earnings", asset_id)

    async def fees(self, asset_id: UUID = TEST_USDC) -> int:
        return await self.balance(PLATFORM, "fees", asset_id)

    async def balance(self, owner: UUID, kind: str, asset_id: UUID) -> int:
        query = "SELECT posted FROM accounts WHERE owner_id = $1 AND kind = $2 AND asset_id = $3"
        return int(await self.pool.fetchval(query, owner, kind, asset_id) or 0)

    async def is_sound(self) -> bool:
        return await Ledger(self.pool).is_sound()


@pytest.fixture
async def shop(client: Client, pool: Pool, member: Member) -> Shop:
    publisher = await created(client, NEW)
    operator = {"Authorization": f"Bearer {await ensure_operator(pool)}"}
    at = f"/platform/publishers/{publisher['id']}"
    marked = await client.patch(at, json={"is_first_party": True}, headers=operator)
    assert (await marked.json())["data"]["is_first_party"] is True
    agent = await join(pool)
    await link(pool, WALLET.lower(), agent.id.organization_id)
    return Shop(client, pool, UUID(publisher["id"]), member.id.organization_id, agent, operator)


async def code(response: Any) -> tuple[int, str]:
    return response.status, (await response.json())["code"]


async def test_a_charge_splits_counts_as_usage_and_is_read(shop: Shop) -> None:
    await shop.fund(1_000_005)
    charge = await shop.charged(500_005)
    assert charge["status"] == "succeeded"
    assert (charge["amount_atomic"], charge["agent_wallet"]) == (500_005, WALLET.lower())
    # The fee is rounded down, for the publisher.
    assert (await shop.funded(), await shop.earned(), await shop.fees()) == (500_000, 450_005, 50_000)
    used = await shop.pool.fetchrow("SELECT * FROM usage_events WHERE call_id = $1", UUID(charge["id"]))
    assert used is not None
    assert (used["cost"], used["publisher_id"], used["payer"]) == (500_005, shop.publisher_id, WALLET.lower())
    assert (used["organization_id"], used["outcome"]) == (shop.agent.id.organization_id, "charged")
    shown = await shop.client.get(f"{AT}/{charge['id']}")
    assert (shown.status, await shown.json()) == (200, charge)
    listed = await shop.client.get("/wallet/transactions?include_usage=true", headers=shop.agent.headers)
    line = (await listed.json())["data"]["transactions"][0]
    assert (line["description"], line["publisher_name"], line["amount_atomic"]) == (
        "a report",
        "Weather",
        500_005,
    )
    events = await shop.pool.fetch(
        "SELECT type FROM events WHERE organization_id = $1", shop.agent.id.organization_id
    )
    assert [event["type"] for event in events] == ["charge.created"]
    assert await shop.is_sound()


async def test_a_charge_takes_the_first_asset_that_has_enough(shop: Shop) -> None:
    await shop.fund(10_000)
    await shop.fund(500, TEST_CENT)
    assert (await shop.charged(20_000))["asset_id"] == str(TEST_CENT)
    # Two cents; a hundredth of one cannot be charged in it.
    assert await shop.funded(TEST_CENT) == 498
    assert await code(await shop.charge(20_001)) == (402, "insufficient-balance")
    assert await shop.funded() == 10_000


async def test_live_money_is_not_charged_by_a_test_key(shop: Shop) -> None:
    await shop.fund(1_000_000, LIVE_USDC)
    assert await code(await shop.charge(1)) == (402, "insufficient-balance")
    assert await shop.funded(LIVE_USDC) == 1_000_000


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["body/agent_wallet", "body/amount_atomic", "body/description"]),
        ({"agent_wallet": "0x12", "amount_atomic": 1, "description": "x"}, ["body/agent_wallet"]),
        ({"agent_wallet": WALLET, "amount_atomic": 0, "description": "x"}, ["body/amount_atomic"]),
        ({"agent_wallet": WALLET, "amount_atomic": 2**63, "description": "x"}, ["body/amount_atomic"]),
        ({"agent_wallet": WALLET, "amount_atomic": 1, "description": ""}, ["body/description"]),
        (
            {"agent_wallet": WALLET, "amount_atomic": 1, "description": "x", "idempotency_key": "1"},
            ["body/idempotency_key"],
        ),
    ],
)
async def test_what_is_wrong_with_a_charge_is_named(shop: Shop, body: Any, fields: list[str]) -> None:
    assert await refused_fields(await shop.client.post(AT, json=body)) == fields


async def test_who_may_not_charge(shop: Shop, pool: Pool, stranger: Client) -> None:
    await shop.fund(1_000_000)
    assert await code(await shop.charge(1, agent_wallet="0x" + "01" * 20)) == (404, "not-found")
    # Somebody else's publisher is as absent as none.
    body = {"agent_wallet": WALLET, "amount_atomic": 1, "description": "x"}
    foreign, unknown = await join(pool), AT.replace("weather", "nobody")
    for at in (AT, unknown):
        assert (await stranger.post(at, json=body, headers=foreign.headers)).status == 404
    viewer = await bearer(pool, shop.agent.id, ["charges.read"])
    assert (await stranger.post(AT, json=body, headers=viewer)).status == 403
    at = f"/platform/publishers/{shop.publisher_id}"
    await shop.client.patch(at, json={"is_suspended": True}, headers=shop.operator)
    assert await code(await shop.charge(1)) == (403, "publisher-suspended")
    await shop.client.patch(at, json={"is_suspended": False, "is_first_party": False}, headers=shop.operator)
    assert await code(await shop.charge(1)) == (403, "not-first-party")
    assert await shop.funded() == 1_000_000


async def test_nobody_charges_their_own_wallet(shop: Shop, pool: Pool) -> None:
    own = "0x" + "0b" * 20
    await pool.execute(
        "INSERT INTO agent_wallets (address, organization_id) VALUES ($1, $2)", own, shop.seller
    )
    assert await code(await shop.charge(1, agent_wallet=own)) == (409, "own-wallet")


async def test_a_key_in_the_body_charges_once(shop: Shop) -> None:
    await shop.fund(1_000_000)
    key = str(uuid4())
    first = await shop.charged(600_000, idempotency_key=key)
    # Also when there is too little left to make it again.
    assert await shop.charged(600_000, idempotency_key=key) == first
    assert await code(await shop.charge(1, idempotency_key=key)) == (409, "idempotency-key-reused")
    assert await shop.funded() == 400_000


async def test_a_key_in_the_header_moves_money_once(shop: Shop) -> None:
    await shop.fund(1_000_000)
    charge = await shop.charged(400_000)
    keyed = {"Idempotency-Key": "once"}
    body = {"reason": "abused", "slash_amount_atomic": 100_000}
    first, again = [
        await shop.client.post(f"{AT}/{charge['id']}/slash", json=body, headers=keyed) for _ in range(2)
    ]
    assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (204, 204, "true")
    assert await shop.funded() == 500_000


@pytest.mark.parametrize("parts", [[None], [1, None], [333_333, 333_333, None], [7, 999, 99_999, 5, None]])
async def test_a_whole_refund_leaves_all_as_it_was(shop: Shop, parts: list[int | None]) -> None:
    await shop.fund(1_000_001)
    charge = await shop.charged(1_000_001)
    for amount in parts:
        assert (await shop.refund(charge, amount))[0] == 200
        assert await shop.is_sound()
    shown = await (await shop.client.get(f"{AT}/{charge['id']}")).json()
    assert (shown["status"], shown["refunded_atomic"]) == ("refunded", 1_000_001)
    at = f"/wallet/settlements/{charge['id']}"
    receipt = (await (await shop.client.get(at, headers=shop.agent.headers)).json())["data"]
    assert receipt["status"] == "refunded"
    assert (await shop.funded(), await shop.earned(), await shop.fees()) == (1_000_001, 0, 0)
    status, problem = await shop.refund(charge)
    assert (status, problem["code"]) == (409, "refund-exceeds-charge")


async def test_a_part_takes_the_fee_back_in_proportion(shop: Shop) -> None:
    await shop.fund(1_000_000)
    charge = await shop.charged(1_000_000)
    _, shown = await shop.refund(charge, 500_000)
    assert shown["status"] == "partially_refunded"
    assert (await shop.funded(), await shop.earned(), await shop.fees()) == (500_000, 450_000, 50_000)
    assert (await shop.refund(charge, 500_001))[0] == 409
    lines = await shop.client.get("/wallet/transactions", headers=shop.agent.headers)
    assert lines.status == 200


async def test_earnings_that_are_gone_are_not_refunded(shop: Shop) -> None:
    await shop.fund(1_000_000)
    charge = await shop.charged(1_000_000)
    await shop.pool.execute(
        "UPDATE accounts SET held = posted WHERE owner_id = $1 AND kind = 'earnings'", shop.seller
    )
    status, problem = await shop.refund(charge)
    assert (status, problem["code"]) == (409, "earnings-too-low")
    shown = await (await shop.client.get(f"{AT}/{charge['id']}")).json()
    assert shown["refunded_atomic"] == 0


async def test_a_penalty_is_bounded_by_what_stands_of_the_charge(shop: Shop) -> None:
    await shop.fund(2_000_000)
    charge = await shop.charged(1_000_000)
    assert (await shop.slash(charge, 300_000))[0] == 204
    # The publisher has all of it.
    assert (await shop.funded(), await shop.earned(), await shop.fees()) == (700_000, 1_200_000, 100_000)
    assert await shop.slash(charge, 700_001) == (409, "slash-exceeds-charge")
    assert (await shop.refund(charge, 500_000))[0] == 200
    assert await shop.slash(charge, 200_001) == (409, "slash-exceeds-charge")
    assert (await shop.refund(charge))[0] == 200
    assert await shop.slash(charge, 1) == (409, "slash-exceeds-charge")
    assert (await shop.funded(), await shop.earned(), await shop.fees()) == (1_700_000, 300_000, 0)
    shown = await (await shop.client.get(f"{AT}/{charge['id']}")).json()
    assert (shown["status"], shown["slashed_atomic"]) == ("refunded", 300_000)
    assert await shop.is_sound()


async def test_a_penalty_that_is_not_there_is_402(shop: Shop) -> None:
    await shop.fund(1_000_000)
    charge = await shop.charged(1_000_000)
    assert await shop.slash(charge, 1) == (402, "insufficient-balance")


async def test_a_foreign_charge_is_absent(shop: Shop, pool: Pool, member: Member) -> None:
    await shop.fund(1_000_000)
    charge = await shop.charged(1)
    await created(shop.client, {**NEW, "slug": "other"})
    live = await bearer(pool, member.id, mode="live")
    elsewhere = AT.replace("weather", "other")
    for at, headers in ((elsewhere, {}), (AT, shop.agent.headers), (AT, live)):
        assert (await shop.client.get(f"{at}/{charge['id']}", headers=headers)).status == 404
        for verb, body in (("refund", {"reason": "x"}), ("slash", {"reason": "x", "slash_amount_atomic": 1})):
            refused = await shop.client.post(f"{at}/{charge['id']}/{verb}", json=body, headers=headers)
            assert refused.status in (403, 404), (at, verb)
    assert await shop.funded() == 999_999


async def test_a_key_charges_for_its_own_organization_only(shop: Shop, pool: Pool) -> None:
    """Whatever else its user is a member of."""
    await shop.fund(1_000_000)
    editor = await people.create(pool, "agent", "Member", None)
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'editor')",
        shop.seller,
        editor.user_id,
    )
    body = {"agent_wallet": WALLET, "amount_atomic": 1, "description": "x"}
    at_home = Newcomer(editor.user_id, shop.seller, editor.created_at)
    for who, status in ((editor, 404), (at_home, 200)):
        asked = await shop.client.post(AT, json=body, headers=await bearer(pool, who))
        assert asked.status == status


async def statuses(*requests: Awaitable[Any]) -> list[int]:
    return sorted([response.status for response in await asyncio.gather(*requests)])


async def test_60_charges_on_a_balance_for_10_give_10(shop: Shop, crowded: Client) -> None:
    await shop.fund(1_000_000)
    got = await statuses(*(shop.charge(100_000) for _ in range(60)))
    assert got == [200] * 10 + [402] * 50
    assert (await shop.funded(), await shop.earned(), await shop.fees()) == (0, 900_000, 100_000)
    assert await shop.pool.fetchval("SELECT count(*) FROM charges") == 10
    assert await shop.is_sound()


@pytest.mark.parametrize("is_in_body", [True, False])
async def test_the_same_key_20_times_at_once_is_one_charge(
    shop: Shop, crowded: Client, is_in_body: bool
) -> None:
    await shop.fund(1_000_000)
    key = str(uuid4())
    body = {"agent_wallet": WALLET, "amount_atomic": 400_000, "description": "x"}
    headers = {} if is_in_body else {"Idempotency-Key": key}
    body |= {"idempotency_key": key} if is_in_body else {}
    responses = await asyncio.gather(*(shop.client.post(AT, json=body, headers=headers) for _ in range(20)))
    made = {(await one.json())["id"] for one in responses if one.status == 200}
    assert len(made) == 1
    # The layer's key says that the first is still at work, and is asked again.
    assert {one.status for one in responses} <= {200, 409}
    assert await shop.funded() == 600_000
    assert await shop.is_sound()


async def test_refunds_race_penalties(shop: Shop, crowded: Client) -> None:
    await shop.fund(2_000_000)
    charge = await shop.charged(1_000_000)
    asked: list[Any] = [shop.refund(charge, 100_000) for _ in range(15)]
    asked += [shop.slash(charge, 100_000) for _ in range(15)]
    got = await asyncio.gather(*asked)
    refunds = sum(status == 200 for status, _ in got[:15])
    slashes = sum(status == 204 for status, _ in got[15:])
    assert {status for status, _ in got} <= {200, 204, 402, 409}
    assert refunds == 10
    assert slashes <= 10
    shown = await (await shop.client.get(f"{AT}/{charge['id']}")).json()
    assert (shown["refunded_atomic"], shown["slashed_atomic"]) == (1_000_000, slashes * 100_000)
    assert await shop.funded() == 2_000_000 - slashes * 100_000
    assert (await shop.earned(), await shop.fees()) == (slashes * 100_000, 0)
    assert await shop.is_sound()


async def test_what_breaks_off_leaves_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, aiohttp_client: AiohttpClient
) -> None:
    """After the money has moved, and before the transaction ends."""
    await shop.fund(1_000_000)

    async def fails(*_: object) -> None:
        raise OSError("the process is gone")

    with monkeypatch.context() as broken:
        broken.setattr("gateway.ledger.usage.record", fails)
        assert (await shop.charge(100_000)).status >= 500
    assert (await shop.funded(), await shop.pool.fetchval("SELECT count(*) FROM charges")) == (1_000_000, 0)
    charge = await shop.charged(100_000)
    with monkeypatch.context() as broken:
        broken.setattr("gateway.ledger.events.emit", fails)
        assert (await shop.refund(charge))[0] >= 500
    assert (await shop.refund(charge))[1]["refunded_atomic"] == 100_000
    assert await shop.funded() == 1_000_000
    assert await shop.is_sound()


@pytest.fixture
async def crowded(client: Client, pool: Pool) -> Client:
    """Every connection is open before the race."""
    await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.05)") for _ in range(pool.get_max_size())))
    return client
