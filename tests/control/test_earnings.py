"""What a publisher earned, and where it is."""

import asyncio
from uuid import UUID

from control.metering import rollups
from control.reconciling import books
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, charging, transfers
from gateway.x402.deposits import link
from tests.arrivals import arrive
from tests.control.conftest import TEST_CENT, TEST_USDC, Client, Member, bearer, join
from tests.control.money import Money
from tests.control.test_payouts import DOLLAR, WALLET, Till, till
from tests.control.test_publishers import NEW, created

__all__ = ["till"]


async def charge(till: Till, payer: Member, publisher_id: str, amount: int, fee: int) -> charging.Charge:
    one = charging.Charge(
        ids.new(), UUID(publisher_id), till.owner, payer.id.organization_id, WALLET, TEST_USDC, amount, fee,
        "a report",
    )  # fmt: skip
    async with till.pool.acquire() as db, db.transaction():
        await charging.charge(db, one)
    return one


async def test_every_unit_is_somewhere(till: Till) -> None:
    payer = await join(till.pool)
    funded = await accounts.ensure(till.pool, payer.id.organization_id, TEST_USDC, "funded")
    await arrive(till.pool, funded, TEST_USDC, 20 * DOLLAR, "Deposit")
    other = await created(till.client, {**NEW, "slug": "other"})
    for _ in range(3):
        await charge(till, payer, till.publisher_id, 2 * DOLLAR, DOLLAR // 10)
    await charge(till, payer, other["id"], DOLLAR, 0)
    assert (await till.asked(amount_atomic=DOLLAR))["status"] == "queued"
    sent = await till.asked(amount_atomic=2 * DOLLAR)
    await till.decide(sent, status="sent", reference="x")
    found = await till.earnings()
    assert (found["total_revenue_atomic"], found["request_count"]) == (5_700_000, 3)
    assert (found["pending_payout_atomic"], found["total_withdrawn_atomic"]) == (DOLLAR, 2 * DOLLAR)
    # What the organization's other publisher earned can be asked for here as well.
    assert found["available_atomic"] == 5_700_000 + DOLLAR - 3 * DOLLAR
    assert (found["total_revenue"], found["available"]) == (5.7, 3.7)
    assert (found["waiting_atomic"], found["waiting_until"]) == (0, None)
    assert (found["publisher_slug"], found["wallet_address"]) == ("weather", NEW["wallet_address"])
    assert (await till.earnings(TEST_CENT))["total_revenue_atomic"] == 0


async def test_what_callers_paid_to_the_publishers_own_wallet_is_withdrawn(till: Till) -> None:
    earnings = await accounts.ensure(till.pool, till.owner, TEST_USDC, "earnings")
    payment_id = ids.new()
    usage = {"publisher_id": till.publisher_id, "method": "GET", "path": "/x", "status": 200}
    await till.pool.execute(
        "INSERT INTO payments (id, purpose, asset_id, payer, nonce, pay_to, amount, valid_after,"
        " valid_before, signature, request_digest, credit_id, is_owed, usage, state, closed_at, final_at)"
        " VALUES ($1, 'call', $2, $3, $4, $3, $5, 0, 0, $4, $4, $6, false, $7, 'settled', now(), now())",
        payment_id, TEST_USDC, WALLET, bytes(32), DOLLAR, earnings, usage,
    )  # fmt: skip
    await transfers.book(till.pool, [payment_id], [ids.new()])
    found = await till.earnings()
    assert (found["total_revenue_atomic"], found["total_withdrawn_atomic"]) == (DOLLAR, DOLLAR)
    assert (found["available_atomic"], found["request_count"]) == (0, 1)


async def test_refunds_and_penalties_count(till: Till, client: Client) -> None:
    payer = await join(till.pool)
    funded = await accounts.ensure(till.pool, payer.id.organization_id, TEST_USDC, "funded")
    await arrive(till.pool, funded, TEST_USDC, 20 * DOLLAR, "Deposit")
    await link(till.pool, WALLET, payer.id.organization_id)
    at = f"/platform/publishers/{till.publisher_id}"
    await client.patch(at, json={"is_first_party": True}, headers=till.operator)
    charges = "/billing/publishers/weather/charges"
    body = {"agent_wallet": WALLET, "amount_atomic": 4 * DOLLAR, "description": "x"}
    made = await (await client.post(charges, json=body)).json()
    of = f"{charges}/{made['id']}"
    part = {"reason": "x", "amount_atomic": DOLLAR}
    assert (await client.post(f"{of}/refund", json=part)).status == 200
    penalty = {"reason": "x", "slash_amount_atomic": DOLLAR // 2}
    assert (await client.post(f"{of}/slash", json=penalty)).status == 204
    found = await till.earnings()
    assert found["total_revenue_atomic"] == found["available_atomic"] == 3_500_000


async def test_live_earnings_are_a_live_keys_to_see(till: Till, client: Client, member: Member) -> None:
    await till.earn(5 * DOLLAR)
    live = await bearer(till.pool, member.id, mode="live")
    at = f"/organizations/default/publishers/{till.publisher_id}/earnings"
    listed = (await (await client.get(at, headers=live)).json())["data"]
    assert {one["asset"]["network_id"] for one in listed} <= {"eip155:8453"}
    assert (await till.earnings())["available_atomic"] == 5 * DOLLAR


async def test_earnings_are_the_same_whether_they_are_added_up_yet_or_not(till: Till) -> None:
    """Also while they are being added up: of no call twice, and of none not at all."""
    payer = await join(till.pool)
    funded = await accounts.ensure(till.pool, payer.id.organization_id, TEST_USDC, "funded")
    await arrive(till.pool, funded, TEST_USDC, 20 * DOLLAR, "Deposit")
    expected = 0
    for amount in (3, 5, 7):
        await charge(till, payer, till.publisher_id, amount * DOLLAR, DOLLAR)
        expected += (amount - 1) * DOLLAR
        found, _ = await asyncio.gather(
            asyncio.gather(*(till.earnings() for _ in range(8))), rollups.roll_up(till.pool)
        )
        assert {one["total_revenue_atomic"] for one in found} == {expected}
    await rollups.roll_up(till.pool)
    row = await till.pool.fetchrow("SELECT calls, earned::bigint FROM earned_totals")
    assert row is not None
    assert tuple(row) == (3, 12 * DOLLAR)
    # As if restored into another cluster, whose transactions have other numbers.
    await till.pool.execute("UPDATE rollup_marks SET cluster = 1")
    await rollups.roll_up(till.pool)
    assert (await till.earnings())["total_revenue_atomic"] == expected
    assert [one async for one in books.compare(till.pool) if one.name == "earned" and one.differences] == []
    await till.pool.execute("UPDATE earned_totals SET earned = earned + 1")
    (wrong,) = [one async for one in books.compare(till.pool) if one.name == "earned"]
    assert [one.subject for one in wrong.differences] == [f"publisher {till.publisher_id}"]


async def test_calls_that_were_charged_together_are_earned_and_counted_one_by_one(
    till: Till, member: Member
) -> None:
    money = Money(till.pool, member, UUID(till.publisher_id))
    await money.deposit(20 * DOLLAR)
    await money.calls(10, 20, 30, fee=1)
    await money.call(40)
    for is_rolled_up in (False, True):
        found = await till.earnings()
        assert (found["total_revenue_atomic"], found["request_count"]) == (97, 4), is_rolled_up
        await rollups.roll_up(till.pool)
    await money.holds.close()
    assert await found_wrong(till.pool) == set()
    for statement, wrong in (
        # Of the last one it says nothing: it has that call's id.
        ("UPDATE usage_events SET charged_as = NULL WHERE charged_as <> call_id", {"usage"}),
        ("UPDATE usage_events SET cost = cost + 1 WHERE cost = 20", {"usage", "days"}),
        ("UPDATE transfers SET calls = 2 WHERE calls = 3", {"usage", "earned"}),
    ):
        async with till.pool.acquire() as db:
            # As a bug in a trigger would let it.
            await db.execute("SET session_replication_role = replica")
            await db.execute(statement)
            await db.execute("SET session_replication_role = DEFAULT")
        assert await found_wrong(till.pool) >= wrong, statement


async def found_wrong(pool: Pool) -> set[str]:
    """Beside that the deposit is of no payment."""
    return {one.name async for one in books.compare(pool) if one.differences} - {"payments"}
