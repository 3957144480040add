"""Charges without a call, paid with what was given: what they draw on, and where refunds put it back."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.kit import ids
from gateway.ledger import accounts, grants
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.batches import Opening, Posting
from gateway.ledger.grants import NewGrant
from gateway.ledger.holds import Holds
from gateway.x402.deposits import link
from tests.control.balanced import differences
from tests.control.conftest import TEST_CENT, TEST_USDC, Client
from tests.control.promotions import fill
from tests.control.test_charges import Shop
from tests.control.test_charges import crowded as crowded
from tests.control.test_charges import ports as ports
from tests.control.test_charges import shop as shop

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
async def budget(shop: Shop) -> None:
    await fill(shop.pool, 10_000_000)


async def give(shop: Shop, amount: int, days: int = 1) -> UUID:
    async with shop.pool.acquire() as db, db.transaction():
        now = await db.fetchval("SELECT now()")
        owner = shop.agent.id.organization_id
        made = await grants.give(
            db, NewGrant(owner, TEST_USDC, amount, "gift", ids.new(), "Welcome", now + DAY * days)
        )
    assert made is not None
    grant_id: UUID = made["id"]
    return grant_id


async def spent(shop: Shop, *grant_ids: UUID) -> list[int]:
    query = "SELECT spent FROM grants WHERE id = $1"
    return [int(await shop.pool.fetchval(query, one)) for one in grant_ids]


async def promotional(shop: Shop) -> int:
    return await shop.balance(shop.agent.id.organization_id, "promotional", TEST_USDC)


async def pass_its_date(shop: Shop, grant_id: UUID) -> None:
    await shop.pool.execute(
        "UPDATE grants SET expires_at = now() - interval '1 minute' WHERE id = $1", grant_id
    )


async def wallet(shop: Shop) -> tuple[int, int]:
    return await promotional(shop), await shop.funded()


async def test_what_expires_first_pays_first_and_the_publisher_is_really_paid(shop: Shop) -> None:
    late, early = await give(shop, 300_000, days=9), await give(shop, 200_000)
    await shop.fund(1_000_000)
    await shop.charged(250_000)
    assert (await spent(shop, early, late), await wallet(shop)) == ([200_000, 50_000], (250_000, 1_000_000))
    await shop.charged(400_000)
    assert await wallet(shop) == (0, 850_000)
    assert (await shop.earned(), await shop.fees()) == (585_000, 65_000)
    assert await differences(shop.pool) == []


@pytest.mark.parametrize("parts", [[None], [150_000, 100_000, None], [1, 449_999], [250_000, None]])
async def test_a_refund_gives_back_the_payers_own_money_first(shop: Shop, parts: list[int | None]) -> None:
    early, late = await give(shop, 200_000), await give(shop, 150_000, days=9)
    await shop.fund(100_000)
    charge = await shop.charged(450_000)
    back = 0
    for part in parts:
        status, _ = await shop.refund(charge, part)
        back += part or 450_000 - back
        given = max(back - 100_000, 0)
        assert (status, await wallet(shop)) == (200, (given, min(back, 100_000)))
        # The last one to expire comes first.
        left = [200_000 - max(given - 150_000, 0), 150_000 - min(given, 150_000)]
        assert await spent(shop, early, late) == left
    assert (await shop.earned(), await shop.fees()) == (0, 0)
    # And is spent again.
    await shop.charged(450_000)
    assert await wallet(shop) == (0, 0)
    assert await differences(shop.pool) == []


async def test_what_a_refund_gives_back_to_an_expired_grant_goes_to_the_budget(shop: Shop) -> None:
    early, late = await give(shop, 200_000), await give(shop, 100_000, days=9)
    charge = await shop.charged(300_000)
    await pass_its_date(shop, early)
    before = await shop.balance(PLATFORM, "promotion_budget", TEST_USDC)
    assert (await shop.refund(charge))[0] == 200
    assert (await wallet(shop), await spent(shop, early, late)) == ((100_000, 0), [0, 0])
    assert await shop.balance(PLATFORM, "promotion_budget", TEST_USDC) == before + 200_000
    listed = await shop.client.get("/wallet/transactions", headers=shop.agent.headers)
    lines = (await listed.json())["data"]["transactions"]
    told = {(one["direction"], one["amount_atomic"], one["description"]) for one in lines}
    back, gone = "Refund of a charge: it was late", "Expired: Welcome"
    assert {("credit", 300_000, back), ("debit", 200_000, gone)} <= told
    assert await differences(shop.pool) == []


async def test_a_penalty_takes_what_was_given_first(shop: Shop) -> None:
    await shop.fund(500_000)
    charge = await shop.charged(400_000)
    await give(shop, 150_000)
    assert await shop.slash(charge, 200_000) == (204, "")
    assert await wallet(shop) == (0, 50_000)
    assert await shop.slash(charge, 60_000) == (402, "insufficient-balance")
    # A refund gives back the charge and not the penalty.
    assert (await shop.refund(charge))[0] == 200
    assert await wallet(shop) == (0, 450_000)
    assert await differences(shop.pool) == []


async def test_both_balances_count_and_a_refusal_draws_nothing(shop: Shop) -> None:
    given = await give(shop, 200_000)
    await shop.fund(100_000)
    assert (await shop.charge(310_000)).status == 402
    assert (await wallet(shop), await spent(shop, given)) == ((200_000, 100_000), [0])
    assert await shop.pool.fetchval("SELECT count(*) FROM charge_grants") == 0
    await shop.fund(500, TEST_CENT)
    assert (await shop.charged(310_000))["asset_id"] == str(TEST_CENT)
    assert (await shop.charged(300_000))["asset_id"] == str(TEST_USDC)
    assert await wallet(shop) == (0, 0)
    assert await differences(shop.pool) == []


async def test_nobody_is_charged_by_themselves_what_they_were_given(shop: Shop) -> None:
    """Neither an organization, nor another one that the same person made."""
    await shop.pool.execute(
        "UPDATE organizations SET created_by = seller.created_by FROM organizations AS seller"
        " WHERE seller.id = $1 AND organizations.id = $2",
        shop.seller, shop.agent.id.organization_id,
    )  # fmt: skip
    await give(shop, 200_000)
    await shop.fund(100_000)
    assert (await shop.charge(150_000)).status == 402
    charge = await shop.charged(60_000)
    assert await shop.slash(charge, 50_000) == (402, "insufficient-balance")
    assert await wallet(shop) == (200_000, 40_000)
    own = "0x" + "b8" * 20
    await link(shop.pool, own, shop.seller)
    assert (await shop.charge(1, agent_wallet=own)).status == 409


async def test_two_charges_on_the_last_cent_of_a_grant_are_one(shop: Shop, crowded: Client) -> None:
    for _ in range(5):
        one = await give(shop, 10_000)
        got = await asyncio.gather(*(shop.charge(10_000) for _ in range(2)))
        assert sorted(response.status for response in got) == [200, 402]
        assert (await spent(shop, one), await wallet(shop)) == ([10_000], (0, 0))
    assert await differences(shop.pool) == []


async def test_refunds_race_penalties_charges_calls_and_expiry(shop: Shop, crowded: Client) -> None:
    """Nothing is lost, given twice or below zero, and nobody waits in a circle."""
    early, late = await give(shop, 600_000), await give(shop, 300_000, days=9)
    await shop.fund(300_000)
    made = [await shop.charged(200_000) for _ in range(5)]
    payer, holds = shop.agent.id.organization_id, Holds(shop.pool, DAY)
    earnings = await accounts.ensure(shop.pool, shop.seller, TEST_USDC, "earnings")

    async def call() -> None:
        call_id = ids.new()
        if (await holds.open(Opening(call_id, payer, earnings, TEST_USDC, 20_000))).is_open:
            await holds.post(Posting(call_id, 15_000, 100, "x", shop.publisher_id, "GET", "/", 200))

    async def expiry() -> None:
        await pass_its_date(shop, early)
        for _ in range(4):
            await grants.expire(shop.pool)

    asked: list[Any] = [shop.refund(one, 100_000) for one in made for _ in range(3)]
    asked += [shop.slash(one, 100_000) for one in made]
    statuses = await asyncio.gather(
        *asked, *(shop.charge(30_000) for _ in range(6)), *(call() for _ in range(10)), expiry()
    )
    assert {one[0] for one in statuses[:20]} <= {200, 204, 402, 409}
    await holds.close()
    await grants.expire(shop.pool)
    refunded = await shop.pool.fetchval("SELECT sum(refunded) FROM charges")
    assert refunded <= 1_000_000
    assert min(await wallet(shop)) >= 0
    query = "SELECT amount - spent - expired FROM grants WHERE id = $1"
    assert await shop.pool.fetchval(query, early) == 0
    assert await promotional(shop) == await shop.pool.fetchval(query, late)
    assert await shop.is_sound()
    assert await differences(shop.pool) == []
