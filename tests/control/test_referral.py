import asyncio
from uuid import uuid4

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.giving import claims
from control.identity import organizations
from control.identity.people import Newcomer
from control.referral import jobs, rules
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join, refused_fields
from tests.control.promotions import deposit, fill, get, offering, post, promotional

APPLY = "/wallet/referral/apply"


@pytest.fixture
def ports(ports: Ports) -> Ports:
    return offering(ports, referrer_bonus="3", referred_bonus="1")


@pytest.fixture
async def friend(member: Member, pool: Pool) -> Member:
    return await join(pool)


async def code_of(client: Client, who: Member) -> str:
    return str((await get(client, "/wallet/referral", who.headers))["referral_code"])


async def apply(client: Client, who: Member, code: str) -> tuple[int, object]:
    return await post(client, APPLY, json={"referral_code": code}, headers=who.headers)


async def test_both_are_rewarded_once_the_newcomer_has_deposited(
    client: Client, pool: Pool, ports: Ports, member: Member, friend: Member
) -> None:
    await fill(pool)
    code = await code_of(client, member)
    assert code == await code_of(client, member)
    assert await apply(client, friend, f"{code[:5].lower()}-{code[5:]}") == (200, None)
    assert await jobs.reward(pool, ports.settings) == 0
    shown = await get(client, "/wallet/referral")
    assert shown == {
        "referral_code": code,
        "referral_url": f"https://gateway.example/?referral_code={code}",
        "total_referrals": 1,
        "total_earnings_atomic": 0,
        "total_earnings_usd": "0",
        "pending_earnings_atomic": 3_000_000,
        "pending_earnings_usd": "3",
    }
    await deposit(pool, friend, 999_999)
    assert await jobs.reward(pool, ports.settings) == 0
    await deposit(pool, friend, 1)
    rewarded = await asyncio.gather(*(jobs.reward(pool, ports.settings) for _ in range(5)))
    assert sum(rewarded) == 1
    assert await jobs.reward(pool, ports.settings) == 0
    assert [await promotional(pool, one) for one in (member, friend)] == [3_000_000, 1_000_000]
    shown = await get(client, "/wallet/referral")
    assert (shown["total_earnings_usd"], shown["pending_earnings_usd"]) == ("3", "0")
    assert (await get(client, "/wallet/referral", friend.headers))["total_earnings_atomic"] == 0


async def test_a_crash_between_both_rewards_gives_each_once(
    client: Client, pool: Pool, ports: Ports, member: Member, friend: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(pool)
    assert (await apply(client, friend, await code_of(client, member)))[0] == 200
    await deposit(pool, friend, 1_000_000)

    async def crash(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("control.referral.store.rewarded", crash)
        with pytest.raises(RuntimeError):
            await jobs.reward(pool, ports.settings)
    assert [await promotional(pool, one) for one in (member, friend)] == [0, 1_000_000]
    assert await jobs.reward(pool, ports.settings) == 1
    assert [await promotional(pool, one) for one in (member, friend)] == [3_000_000, 1_000_000]


async def test_rewards_wait_for_the_budget(
    client: Client, pool: Pool, ports: Ports, member: Member, friend: Member
) -> None:
    assert (await apply(client, friend, await code_of(client, member)))[0] == 200
    await deposit(pool, friend, 1_000_000)
    await fill(pool, 1_000_000)
    assert await jobs.reward(pool, ports.settings) == 0
    await fill(pool, 3_000_000)
    assert await jobs.reward(pool, ports.settings) == 1
    assert [await promotional(pool, one) for one in (member, friend)] == [3_000_000, 1_000_000]


async def test_nobody_brings_themselves_along(
    client: Client, pool: Pool, member: Member, friend: Member
) -> None:
    """Neither with a second organization, nor with one that a member of theirs has."""
    code = await code_of(client, member)
    assert await apply(client, member, code) == (400, "referral-code-invalid")
    team = await organizations.create(pool, "Team", f"team-{uuid4().hex[:8]}", member.id.user_id)
    assert team is not None
    second = Newcomer(member.id.user_id, team, member.id.created_at)
    at_team = Member(second, await bearer(pool, second))
    assert await apply(client, at_team, code) == (400, "referral-code-invalid")
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'viewer')",
        team,
        friend.id.user_id,
    )
    assert await apply(client, friend, await code_of(client, at_team)) == (400, "referral-code-invalid")


async def test_somebody_is_brought_along_once(
    client: Client, pool: Pool, member: Member, friend: Member
) -> None:
    others = [await join(pool) for _ in range(8)]
    codes = [await code_of(client, one) for one in others]
    answers = await asyncio.gather(*(apply(client, friend, code) for code in codes))
    assert sorted(status for status, _ in answers) == [200] + [409] * 7
    team = await organizations.create(pool, "Team", f"team-{uuid4().hex[:8]}", friend.id.user_id)
    assert team is not None
    second = Newcomer(friend.id.user_id, team, friend.id.created_at)
    at_team = Member(second, await bearer(pool, second))
    assert await apply(client, at_team, await code_of(client, member)) == (409, "already-referred")


async def test_whoever_deposited_already_is_not_brought_along(
    client: Client, pool: Pool, member: Member, friend: Member
) -> None:
    await deposit(pool, friend, 1)
    assert await apply(client, friend, await code_of(client, member)) == (409, "referral-too-late")


async def test_codes_that_are_none(client: Client, pool: Pool, member: Member, friend: Member) -> None:
    for code in ("x", "U" * 10, rules.new(), "\N{SNOWMAN}" * 10, "0" * 64):
        assert await apply(client, friend, code) == (400, "referral-code-invalid")
    code = await code_of(client, member)
    await pool.execute(
        "UPDATE organizations SET suspended_at = now() WHERE id = $1", member.id.organization_id
    )
    assert await apply(client, friend, code) == (400, "referral-code-invalid")
    for body in ({}, {"referral_code": ""}, {"referral_code": 1}, {"referral_code": "x" * 65}):
        response = await client.post(APPLY, json=body, headers=friend.headers)
        assert await refused_fields(response) == ["body/referral_code"]


async def test_nothing_is_offered_by_default(
    pool: Pool, ports: Ports, member: Member, friend: Member, aiohttp_client: AiohttpClient
) -> None:
    client = await aiohttp_client(app.create(pool, offering(ports)), headers=member.headers)
    code = await code_of(client, member)
    assert await apply(client, friend, code) == (409, "bonus-not-offered")


async def test_a_deposit_is_found_among_the_first_things_that_happened(pool: Pool, friend: Member) -> None:
    assert await claims.deposited(pool, friend.id.organization_id, "test") == 0
    await deposit(pool, friend, 5)
    assert await claims.deposited(pool, friend.id.organization_id, "test") == 5
    assert await claims.deposited(pool, friend.id.organization_id, "live") == 0
