import asyncio
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from gateway.kit.money import usd
from gateway.kit.sql import Pool
from tests.control.balanced import differences
from tests.control.conftest import Client, Member, bearer, join
from tests.control.promotions import deposit, fill, get, offering, post, promotional, verify

CLAIM, ELIGIBILITY = "/wallet/daily/claim", "/wallet/daily/eligibility"


@pytest.fixture
def ports(ports: Ports) -> Ports:
    return offering(ports, daily_claim="0.5", daily_claims_per_month=3)


async def yesterday(pool: Pool, member: Member) -> None:
    """What was claimed today was claimed on another day of this month, and under its cause."""
    await pool.execute(
        "UPDATE grants SET cause_id = gen_random_uuid() WHERE organization_id = $1",
        member.id.organization_id,
    )
    # The transfers' causes stay: a day has one, and this is a day that is over.
    await pool.execute("ALTER TABLE transfers DISABLE TRIGGER append_only")
    await pool.execute("UPDATE transfers SET cause_id = gen_random_uuid() WHERE kind = 'grant'")
    await pool.execute("ALTER TABLE transfers ENABLE TRIGGER append_only")


async def test_nothing_is_offered_by_default(pool: Pool, ports: Ports, aiohttp_client: AiohttpClient) -> None:
    member = await join(pool)
    client = await aiohttp_client(app.create(pool, offering(ports)), headers=member.headers)
    assert await post(client, CLAIM) == (400, "not-eligible")
    assert await get(client, ELIGIBILITY) == {
        "can_claim": False,
        "claims_remaining_this_month": 0,
        "claim_amount_usd": None,
        "reason": "the operator gives nothing away in test money",
        "resets_in_seconds": None,
    }


async def test_somebody_claims_once_a_day_and_so_often_in_a_month(
    client: Client, pool: Pool, member: Member
) -> None:
    await fill(pool)
    refused = await get(client, ELIGIBILITY)
    assert (refused["can_claim"], refused["claims_remaining_this_month"]) == (False, 3)
    assert "verify" in refused["reason"]
    assert await post(client, CLAIM) == (400, "not-eligible")
    await verify(pool, member)
    assert await get(client, ELIGIBILITY) == {
        "can_claim": True,
        "claims_remaining_this_month": 3,
        "claim_amount_usd": "0.5",
        "reason": None,
        "resets_in_seconds": None,
    }
    await deposit(pool, member, 7)
    for day in range(1, 4):
        status, claimed = await post(client, CLAIM)
        assert (status, claimed) == (
            200,
            {
                "success": True,
                "amount_atomic": 500_000,
                "amount_usd": "0.5",
                "balance_atomic": 500_000 * day + 7,
                "balance_usd": usd(500_000 * day + 7),
                "claims_remaining_this_month": 3 - day,
            },
        )
        assert await post(client, CLAIM) == (400, "not-eligible")
        told = await get(client, ELIGIBILITY)
        assert (told["can_claim"], told["reason"]) == (False, "you have claimed today")
        assert 0 < told["resets_in_seconds"] <= 86_400
        await yesterday(pool, member)
    assert await post(client, CLAIM) == (400, "not-eligible")
    assert (await get(client, ELIGIBILITY))["reason"] == "you have claimed as often as one may in a month"


async def test_two_hundred_claims_at_once_give_one(client: Client, pool: Pool, member: Member) -> None:
    await fill(pool)
    await deposit(pool, member, 1_000_000)
    answers = await asyncio.gather(*(post(client, CLAIM) for _ in range(200)))
    assert sorted(status for status, _ in answers) == [200] + [400] * 199
    assert await promotional(pool, member) == 500_000
    assert await pool.fetchval("SELECT claims FROM claim_addresses") == 1


async def test_claims_race_for_the_last_of_the_budget(client: Client, pool: Pool) -> None:
    """Each of them may, and there is enough for three."""
    await fill(pool, 1_600_000)
    crowd = [await join(pool) for _ in range(12)]
    for one in crowd:
        await verify(pool, one)
    answers = await asyncio.gather(*(post(client, CLAIM, headers=one.headers) for one in crowd))
    assert sum(status == 200 for status, _ in answers) == 3
    assert {answer for status, answer in answers if status != 200} == {"promotion-budget-empty"}
    assert sorted([await promotional(pool, one) for one in crowd]) == [0] * 9 + [500_000] * 3
    assert await pool.fetchval("SELECT posted FROM accounts WHERE kind = 'promotion_budget'") == 100_000
    assert await differences(pool) == []


async def test_an_empty_budget_is_said(client: Client, pool: Pool, member: Member) -> None:
    await verify(pool, member)
    assert await post(client, CLAIM) == (409, "promotion-budget-empty")
    assert await pool.fetchval("SELECT count(*) FROM grants") == 0


async def test_a_claim_needs_the_permission_to_deposit(client: Client, pool: Pool, member: Member) -> None:
    reader = await bearer(pool, member.id, ["wallet.read"])
    assert (await client.get(ELIGIBILITY, headers=reader)).status == 200
    assert (await client.post(CLAIM, headers=reader)).status == 403


async def test_people_of_one_network_address_claim_so_often_together(
    pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient
) -> None:
    """Behind a load balancer that is trusted the address is the client's own."""
    await fill(pool)
    listen = ports.settings.listen.model_copy(update={"trusted_proxies": (ip_network("127.0.0.0/8"),)})
    limited = offering(ports, daily_claim="0.5", people_claims_per_address_per_day=3)
    settings = limited.settings.model_copy(update={"listen": listen})
    client = await aiohttp_client(app.create(pool, replace(limited, settings=settings)))
    people = [await join(pool) for _ in range(10)]
    for one in people:
        await verify(pool, one)

    async def claim(one: Member, address: str) -> tuple[int, Any]:
        return await post(client, CLAIM, headers={**one.headers, "X-Forwarded-For": address})

    answers = await asyncio.gather(*(claim(one, "192.0.2.7") for one in people[:8]))
    assert sorted(status for status, _ in answers) == [200] * 3 + [429] * 5
    assert {code for status, code in answers if status == 429} == {"too-many-claims"}
    assert (await claim(people[8], "192.0.2.8"))[0] == 200
    # Agents there have their own.
    agent = await join(pool)
    await deposit(pool, agent, 1_000_000)
    assert (await claim(agent, "192.0.2.7"))[0] == 200


async def test_people_are_not_limited_by_address_unless_the_operator_says_so(
    client: Client, pool: Pool, member: Member
) -> None:
    await fill(pool)
    people = [await join(pool) for _ in range(25)]
    for one in people:
        await verify(pool, one)
    answers = [await post(client, CLAIM, headers=one.headers) for one in people]
    assert {status for status, _ in answers} == {200}
    assert await pool.fetchval("SELECT count(*) FROM claim_addresses") == 0
