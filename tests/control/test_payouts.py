"""Payouts asked for, refused, and sent by hand. How one gets onto a chain is proved in ``gateway/x402``."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from config.money import Payouts
from control.api.ports import Ports
from control.bootstrap import ensure_operator
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, charging, moves, payouts
from gateway.metering import gauges
from gateway.x402.signers import Signer
from tests.arrivals import arrive
from tests.control.conftest import (
    FACILITATOR_KEY,
    LIVE_USDC,
    NETWORKS,
    TEST_CENT,
    TEST_USDC,
    USDC,
    Client,
    Member,
    bearer,
    join,
    ports_with,
    refused_fields,
)
from tests.control.test_publishers import NEW, created
from tests.gateway.conftest import Ledger

WAITING = ("requested", "suspended", "manual")
BILLED = "/billing/publishers/weather/payouts"
WALLET = "0x" + "c5" * 20
DOLLAR = 1_000_000
# Capital letters where the checksum wants small ones.
TYPED_WRONG = "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


@dataclass(frozen=True, slots=True)
class Till:
    """A publisher with earnings."""

    client: Client
    pool: Pool
    owner: UUID
    publisher_id: str
    operator: dict[str, str]

    @property
    def at(self) -> str:
        return f"/organizations/default/publishers/{self.publisher_id}/payouts"

    async def earn(self, amount: int, asset_id: UUID = TEST_USDC) -> None:
        account = await accounts.ensure(self.pool, self.owner, asset_id, "earnings")
        await arrive(self.pool, account, asset_id, amount, "earned")

    async def ask(self, **more: Any) -> Any:
        return await self.client.post(self.at, json={"asset_id": str(TEST_USDC), **more})

    async def asked(self, **more: Any) -> dict[str, Any]:
        response = await self.ask(**more)
        assert response.status == 201, await response.text()
        payout: dict[str, Any] = (await response.json())["data"]
        return payout

    async def bill(self, amount: int, **more: Any) -> Any:
        body = {"destination_wallet": WALLET, "amount_atomic": amount, "description": "October", **more}
        return await self.client.post(BILLED, json=body)

    async def decide(self, payout: dict[str, Any], **decision: Any) -> tuple[int, Any]:
        at = f"/platform/payouts/{payout['id']}"
        response = await self.client.patch(at, json=decision, headers=self.operator)
        return response.status, await response.json()

    async def earnings(self, asset_id: UUID = TEST_USDC) -> dict[str, Any]:
        at = f"/organizations/default/publishers/{self.publisher_id}/earnings"
        listed = (await (await self.client.get(at)).json())["data"]
        found: dict[str, Any] = next(one for one in listed if one["asset"]["id"] == str(asset_id))
        return found

    async def balances(self, asset_id: UUID = TEST_USDC) -> tuple[int, int]:
        """Earned, and on its way."""
        query = "SELECT posted FROM accounts WHERE owner_id = $1 AND kind = $2 AND asset_id = $3"
        kinds = ("earnings", "payouts")
        found = [await self.pool.fetchval(query, self.owner, kind, asset_id) or 0 for kind in kinds]
        return int(found[0]), int(found[1])

    async def cleared(self, kind: str) -> int:
        query = "SELECT posted FROM accounts WHERE owner_id = $1 AND kind = $2 AND asset_id = $3"
        return int(await self.pool.fetchval(query, accounts.PLATFORM, kind, TEST_USDC) or 0)

    async def is_sound(self) -> bool:
        return await Ledger(self.pool).is_sound()


@pytest.fixture
async def till(client: Client, pool: Pool, member: Member) -> Till:
    publisher = await created(client, NEW)
    operator = {"Authorization": f"Bearer {await ensure_operator(pool)}"}
    return Till(client, pool, member.id.organization_id, publisher["id"], operator)


async def code(response: Any) -> tuple[int, str]:
    return response.status, (await response.json())["code"]


async def test_all_that_is_earned_is_asked_for_and_listed(till: Till) -> None:
    await till.earn(5 * DOLLAR)
    payout = await till.asked()
    assert (payout["status"], payout["amount_atomic"], payout["amount"]) == ("queued", 5 * DOLLAR, 5.0)
    assert payout["destination_wallet"].lower() == NEW["wallet_address"].lower()
    assert (payout["tx_hash"], payout["asset"]["symbol"]) == (None, "USDC")
    assert await till.balances() == (0, 5 * DOLLAR)
    assert await code(await till.ask()) == (409, "earnings-too-low")
    listed = await (await till.client.get(till.at)).json()
    assert (listed["data"], listed["pagination"]["total"]) == ([payout], 1)
    events = await till.pool.fetch("SELECT type FROM events WHERE type LIKE 'payout%'")
    assert [event["type"] for event in events] == ["payout.requested"]
    assert await till.is_sound()


async def test_a_payout_in_dollars_takes_the_first_asset_that_has_it(till: Till) -> None:
    await till.earn(2 * DOLLAR)
    await till.earn(900, TEST_CENT)
    response = await till.bill(3 * DOLLAR)
    billed = await response.json()
    assert (response.status, billed["status"], billed["amount_atomic"]) == (200, "queued", 3 * DOLLAR)
    assert (await till.balances(), await till.balances(TEST_CENT)) == ((2 * DOLLAR, 0), (600, 300))
    shown = await till.client.get(f"{BILLED}/{billed['id']}")
    assert (shown.status, await shown.json()) == (200, billed)
    # Together it would be enough.
    assert await code(await till.bill(7 * DOLLAR)) == (409, "earnings-too-low")


async def test_a_key_pays_once(till: Till) -> None:
    await till.earn(3 * DOLLAR)
    key = str(uuid4())
    first = await (await till.bill(2 * DOLLAR, idempotency_key=key)).json()
    # Also when there is too little left to pay it again.
    assert await (await till.bill(2 * DOLLAR, idempotency_key=key)).json() == first
    assert await code(await till.bill(DOLLAR, idempotency_key=key)) == (409, "idempotency-key-reused")
    assert await till.balances() == (DOLLAR, 2 * DOLLAR)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"destination_wallet": TYPED_WRONG}, "body/destination_wallet"),
        ({"destination_wallet": "0x" + "00" * 20}, "body/destination_wallet"),
        ({"destination_wallet": Signer(FACILITATOR_KEY).address}, "body/destination_wallet"),
        ({"destination_wallet": USDC}, "body/destination_wallet"),
        ({"destination_wallet": "bc1q"}, "body/destination_wallet"),
        ({"amount_atomic": DOLLAR - 1}, "body/amount_atomic"),
        ({"amount_atomic": 0}, "body/amount_atomic"),
        ({"amount_atomic": "5"}, "body/amount_atomic"),
    ],
)
async def test_what_is_wrong_with_a_payout_is_named(till: Till, change: dict[str, Any], field: str) -> None:
    await till.earn(5 * DOLLAR)
    assert await refused_fields(await till.ask(**change)) == [field]
    billed = {"amount_atomic": 2 * DOLLAR, **change}
    assert await refused_fields(await till.bill(billed.pop("amount_atomic"), **billed)) == [field]
    assert await till.balances() == (5 * DOLLAR, 0)


async def test_money_pays_out_as_what_it_is(till: Till, pool: Pool, member: Member) -> None:
    await till.earn(5 * DOLLAR)
    await till.earn(5 * DOLLAR, LIVE_USDC)
    assert await refused_fields(await till.ask(asset_id=str(LIVE_USDC))) == ["body/asset_id"]
    assert await refused_fields(await till.ask(asset_id=str(uuid4()))) == ["body/asset_id"]
    live = await bearer(pool, member.id, mode="live")
    body = {"asset_id": str(LIVE_USDC)}
    # The publisher's wallet is on the test network, where live money never goes.
    refused = await till.client.post(till.at, json=body, headers=live)
    assert await refused_fields(refused) == ["body/destination_wallet"]
    paid = await till.client.post(till.at, json={**body, "destination_wallet": WALLET}, headers=live)
    data = (await paid.json())["data"]
    assert (paid.status, data["asset"]["network_id"]) == (201, "eip155:8453")
    # Nor is one shown to a key of the other money.
    assert (await till.client.get(f"{BILLED}/{data['id']}")).status == 404
    assert (await (await till.client.get(till.at)).json())["data"] == []


async def test_who_may_not(till: Till, pool: Pool, stranger: Client, member: Member) -> None:
    await till.earn(5 * DOLLAR)
    payout = await till.asked(amount_atomic=DOLLAR)
    foreign = await join(pool)
    body = {"destination_wallet": WALLET, "amount_atomic": DOLLAR, "description": "x"}
    assert (await stranger.post(BILLED, json=body, headers=foreign.headers)).status == 404
    assert (await stranger.get(f"{BILLED}/{payout['id']}", headers=foreign.headers)).status == 404
    theirs = till.at.replace("default", member.organization_id)
    for at in (theirs, theirs.replace("payouts", "earnings")):
        assert (await stranger.get(at, headers=foreign.headers)).status == 404
    assert (await till.client.get(till.at.replace(till.publisher_id, str(uuid4())))).status == 404
    assert (await till.client.post(till.at.replace(till.publisher_id, str(uuid4())), json={
        "asset_id": str(TEST_USDC)})).status == 404  # fmt: skip
    reader = await bearer(pool, member.id, ["payouts.read", "earnings.read"])
    assert (await stranger.post(BILLED, json=body, headers=reader)).status == 403
    assert (await stranger.get(till.at, headers=reader)).status == 200
    assert (await till.client.get("/platform/payouts")).status == 403
    at = f"/platform/publishers/{till.publisher_id}"
    await till.client.patch(at, json={"is_suspended": True}, headers=till.operator)
    assert await code(await till.bill(DOLLAR)) == (403, "publisher-suspended")
    assert await code(await till.ask()) == (403, "publisher-suspended")


async def test_nothing_is_signed_for_whom_the_operator_suspended(till: Till) -> None:
    await till.earn(5 * DOLLAR)
    await till.asked()
    at = f"/platform/publishers/{till.publisher_id}"
    for is_suspended, count in ((True, 0), (False, 1)):
        await till.client.patch(at, json={"is_suspended": is_suspended}, headers=till.operator)
        await gauges.look_at_payouts(till.pool)
        waiting = {
            state: REGISTRY.get_sample_value("farebox_payouts_open", {"state": state}) for state in WAITING
        }
        assert waiting == {"requested": count, "suspended": 1 - count, "manual": 0}
        due = await payouts.take_due(till.pool, "eip155:84532", timedelta(0), timedelta(0), 10)
        assert len(due) == count


async def test_a_deleted_publisher_is_paid_what_it_earned(till: Till) -> None:
    await till.earn(5 * DOLLAR)
    at = f"/organizations/default/publishers/{till.publisher_id}"
    assert (await till.client.delete(at)).status == 200
    assert (await till.asked())["amount_atomic"] == 5 * DOLLAR


async def test_the_operator_sends_by_hand(till: Till) -> None:
    await till.earn(5 * DOLLAR)
    payout = await till.asked(amount_atomic=2 * DOLLAR)
    listed = await till.client.get("/platform/payouts?status=queued", headers=till.operator)
    assert [one["id"] for one in (await listed.json())["data"]] == [payout["id"]]
    for decision, field in (({"status": "sent"}, "reference"), ({"status": "failed"}, "reason")):
        status, problem = await till.decide(payout, **decision)
        assert (status, problem["errors"][0]["pointer"]) == (400, f"body/{field}")
    status, answer = await till.decide(payout, status="sent", reference="SEPA 4711")
    assert (status, answer["data"]["status"], answer["data"]["reference"]) == (200, "completed", "SEPA 4711")
    assert (await till.balances(), await till.cleared("bank")) == ((3 * DOLLAR, 0), 2 * DOLLAR)
    assert (await till.decide(payout, status="failed", reason="x"))[1]["code"] == "payout-decided"
    status, answer = await till.decide(payout, status="returned", reason="unknown account")
    assert (answer["data"]["status"], answer["data"]["error_message"]) == ("cancelled", "unknown account")
    assert (await till.balances(), await till.cleared("bank")) == ((5 * DOLLAR, 0), 0)
    assert (await till.decide(payout, status="returned", reason="x"))[0] == 409
    assert (await till.decide({"id": str(uuid4())}, status="sent", reference="x"))[0] == 404
    types = await till.pool.fetch("SELECT type FROM events WHERE type LIKE 'payout%' ORDER BY id")
    assert {one["type"] for one in types} == {"payout.requested", "payout.sent", "payout.returned"}
    assert await till.is_sound()


async def test_a_refused_payout_is_earned_again(till: Till) -> None:
    await till.earn(5 * DOLLAR)
    payout = await till.asked()
    assert (await till.decide(payout, status="failed", reason="wrong wallet"))[0] == 200
    assert await till.balances() == (5 * DOLLAR, 0)
    # What was decided once is never sent.
    assert not await payouts.submit(till.pool, UUID(payout["id"]), WALLET)
    assert await till.is_sound()


async def test_nobody_decides_what_the_chain_can_still_decide(till: Till) -> None:
    await till.earn(5 * DOLLAR)
    payout = await till.asked()
    assert await payouts.submit(till.pool, UUID(payout["id"]), WALLET)
    for decision in ({"status": "failed", "reason": "x"}, {"status": "sent", "reference": "x"}):
        assert (await till.decide(payout, **decision))[1]["code"] == "payout-under-way"
    await payouts.doubt(till.pool, UUID(payout["id"]), "its nonce is taken")
    listed = await till.client.get("/platform/payouts", headers=till.operator)
    assert (await listed.json())["data"][0]["doubt"] == "its nonce is taken"
    status, _ = await till.decide(payout, status="sent", reference="0x12")
    assert (status, await till.cleared("chain")) == (200, 0)
    assert await till.balances() == (0, 0)


@pytest.mark.parametrize(
    ("network", "is_manual"),
    [
        ({}, False),
        ({"facilitator_key": None, "facilitator_url": "https://facilitator.example"}, True),
    ],
)
async def test_a_network_without_a_key_of_ours_is_paid_by_hand(
    till: Till, ports: Ports, network: dict[str, Any], *, is_manual: bool
) -> None:
    other = ports_with([{**NETWORKS[0], **network}, NETWORKS[1]]).settings
    object.__setattr__(ports, "settings", other)
    await till.earn(5 * DOLLAR)
    payout = await till.asked()
    stored = await payouts.find(till.pool, UUID(payout["id"]))
    assert stored is not None
    assert stored.is_manual is is_manual
    due = await payouts.take_due(till.pool, "eip155:84532", timedelta(0), timedelta(0), 10)
    assert [one.id for one in due] == ([] if is_manual else [stored.id])


async def test_a_setting_has_all_sent_by_hand_and_bounds_them(till: Till, ports: Ports) -> None:
    changed = ports.settings.model_copy(update={"payouts": Payouts(minimum="2.5", is_manual=True)})
    object.__setattr__(ports, "settings", changed)
    await till.earn(5 * DOLLAR)
    await till.earn(250, TEST_CENT)
    short = await till.ask(amount_atomic=2_499_999)
    assert (await short.json())["detail"].endswith("2.499999 is less than the least payout, 2.5 USDC")
    assert await refused_fields(await till.ask(asset_id=str(TEST_CENT), amount_atomic=249)) == [
        "body/amount_atomic"
    ]
    for more in ({"amount_atomic": 2_500_000}, {"asset_id": str(TEST_CENT)}):
        stored = await payouts.find(till.pool, UUID((await till.asked(**more))["id"]))
        assert stored is not None
        assert stored.is_manual


async def test_what_an_organization_gave_itself_is_not_paid_out(till: Till) -> None:
    """Promotional money that it spent at its own publisher."""
    await till.earn(2 * DOLLAR)
    budget = await accounts.ensure(till.pool, accounts.PLATFORM, TEST_USDC, "promotion_budget")
    await arrive(till.pool, budget, TEST_USDC, 10 * DOLLAR, "budget")
    given = await accounts.ensure(till.pool, till.owner, TEST_USDC, "promotional")
    earnings = await accounts.ensure(till.pool, till.owner, TEST_USDC, "earnings")
    fees = await accounts.ensure(till.pool, accounts.PLATFORM, TEST_USDC, "fees")
    ten = 10 * DOLLAR
    await moves.move(till.pool, "grant", ids.new(), "a gift", {budget: -ten, given: ten})
    legs = {given: -ten, earnings: 9 * DOLLAR, fees: DOLLAR}
    await moves.move(till.pool, "charge", ids.new(), "its own call", legs)
    assert await till.balances() == (11 * DOLLAR, 0)
    assert (await till.earnings())["available_atomic"] == 2 * DOLLAR
    assert await code(await till.ask(amount_atomic=2 * DOLLAR + 1)) == (409, "earnings-too-low")
    assert (await till.asked())["amount_atomic"] == 2 * DOLLAR
    assert await code(await till.ask(amount_atomic=DOLLAR)) == (409, "earnings-too-low")
    assert await till.balances() == (9 * DOLLAR, 2 * DOLLAR)


async def test_payouts_race_each_other_and_what_is_earned(till: Till, crowded: None) -> None:
    await till.earn(10 * DOLLAR)
    responses = await asyncio.gather(
        *(till.ask(amount_atomic=DOLLAR) for _ in range(15)), *(till.bill(DOLLAR) for _ in range(15))
    )
    statuses = [response.status for response in responses]
    assert set(statuses) <= {200, 201, 409}
    assert sum(status < 300 for status in statuses) == 10
    assert await till.balances() == (0, 10 * DOLLAR)
    assert await till.is_sound()


async def test_the_same_payout_20_times_at_once_is_one(till: Till, crowded: None) -> None:
    await till.earn(10 * DOLLAR)
    key = str(uuid4())
    responses = await asyncio.gather(*(till.bill(DOLLAR, idempotency_key=key) for _ in range(20)))
    assert {response.status for response in responses} == {200}
    assert len({(await response.json())["id"] for response in responses}) == 1
    assert await till.balances() == (9 * DOLLAR, DOLLAR)


async def test_a_payout_races_a_refund_and_charges(till: Till, pool: Pool, crowded: None) -> None:
    """Whoever is first has the earnings; nobody has them twice, and none are below zero."""
    payer = await join(pool)
    funded = await accounts.ensure(pool, payer.id.organization_id, TEST_USDC, "funded")
    await arrive(pool, funded, TEST_USDC, 20 * DOLLAR, "Deposit")

    async def charge() -> charging.Charge:
        one = charging.Charge(
            ids.new(), UUID(till.publisher_id), till.owner, payer.id.organization_id, WALLET, TEST_USDC,
            DOLLAR, 0, "x",
        )  # fmt: skip
        async with pool.acquire() as db, db.transaction():
            await charging.charge(db, one)
        return one

    made = [await charge() for _ in range(5)]

    async def refund(one: charging.Charge) -> bool:
        try:
            async with pool.acquire() as db, db.transaction():
                await charging.refund(db, ids.new(), one.id, DOLLAR, "late")
        except moves.Short:
            return False
        return True

    asked = [till.ask(amount_atomic=DOLLAR) for _ in range(8)]
    refunds, _, responses = await asyncio.gather(
        asyncio.gather(*(refund(one) for one in made)),
        asyncio.gather(*(charge() for _ in range(5))),
        asyncio.gather(*asked),
    )
    paid = sum(response.status == 201 for response in responses)
    earned, leaving = await till.balances()
    assert (earned, leaving) == ((10 - sum(refunds) - paid) * DOLLAR, paid * DOLLAR)
    assert earned >= 0
    assert await till.is_sound()


async def test_what_breaks_off_leaves_nothing(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    await till.earn(5 * DOLLAR)

    async def fails(*_: object) -> None:
        raise OSError("the process is gone")

    with monkeypatch.context() as broken:
        broken.setattr(payouts, "tell", fails)
        assert (await till.ask()).status >= 500
    assert (await till.balances(), await till.pool.fetchval("SELECT count(*) FROM payouts")) == (
        (5 * DOLLAR, 0),
        0,
    )


@pytest.fixture
async def crowded(client: Client, pool: Pool) -> None:
    """Every connection is open before the race."""
    await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.05)") for _ in range(pool.get_max_size())))
