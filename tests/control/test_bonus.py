import asyncio
from uuid import UUID, uuid4

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.identity import organizations
from control.identity.people import Newcomer
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join
from tests.control.promotions import deposit, fill, offering, post, promotional, verify

SIGNUP, CARD = "/wallet/bonus/signup", "/wallet/bonus/payment-method"
GIVEN = {"success": True, "amount_atomic": 2_500_000, "amount_usd": "2.5"}


@pytest.fixture
def ports(ports: Ports) -> Ports:
    return offering(ports, signup_bonus="2.5", payment_method_bonus="2.5", claims_per_address_per_day=3)


async def test_nothing_is_offered_by_default(pool: Pool, ports: Ports, aiohttp_client: AiohttpClient) -> None:
    member = await join(pool)
    client = await aiohttp_client(app.create(pool, offering(ports)), headers=member.headers)
    for path in (SIGNUP, CARD):
        assert await post(client, path) == (409, "bonus-not-offered")


async def test_whoever_verified_an_address_claims_once(client: Client, pool: Pool, member: Member) -> None:
    await fill(pool)
    assert await post(client, SIGNUP) == (409, "proof-needed")
    await verify(pool, member)
    assert await post(client, SIGNUP) == (200, {**GIVEN, "bonus_type": "signup"})
    assert await post(client, SIGNUP) == (409, "bonus-already-claimed")
    assert await promotional(pool, member) == 2_500_000
    told = await pool.fetchrow("SELECT payload FROM events WHERE type = 'wallet.granted'")
    assert told is not None
    assert (told["payload"]["amount_atomic"], told["payload"]["reason"]) == ("2500000", "signup")


async def test_a_deposit_proves_as_much_as_an_address(client: Client, pool: Pool, member: Member) -> None:
    await fill(pool)
    await deposit(pool, member, 999_999)
    assert await post(client, SIGNUP) == (409, "proof-needed")
    await deposit(pool, member, 1)
    assert (await post(client, SIGNUP))[0] == 200


async def test_two_hundred_claims_at_once_give_one(client: Client, pool: Pool, member: Member) -> None:
    await fill(pool)
    await verify(pool, member)
    answers = await asyncio.gather(*(post(client, SIGNUP) for _ in range(200)))
    assert sorted(status for status, _ in answers) == [200] + [409] * 199
    assert await promotional(pool, member) == 2_500_000


async def test_an_empty_budget_gives_nothing_and_leaves_nothing(
    client: Client, pool: Pool, member: Member
) -> None:
    await fill(pool, 2_499_999)
    await verify(pool, member)
    assert await post(client, SIGNUP) == (409, "promotion-budget-empty")
    assert await pool.fetchval("SELECT count(*) FROM grants") == 0
    assert await pool.fetchval("SELECT count(*) FROM transfers WHERE kind = 'grant'") == 0
    await fill(pool, 1)
    assert (await post(client, SIGNUP))[0] == 200


async def test_somebody_with_many_teams_claims_once(client: Client, pool: Pool, member: Member) -> None:
    await fill(pool)
    await verify(pool, member)
    assert (await post(client, SIGNUP))[0] == 200
    team = await organizations.create(pool, "Team", f"team-{uuid4().hex[:8]}", member.id.user_id)
    assert team is not None
    headers = await bearer(pool, Newcomer(member.id.user_id, team, member.id.created_at))
    assert await post(client, SIGNUP, headers=headers) == (409, "bonus-already-claimed")


async def test_agents_at_one_address_share_what_they_may_claim(client: Client, pool: Pool) -> None:
    await fill(pool)
    others = [await join(pool) for _ in range(5)]
    for other in others:
        await deposit(pool, other, 1_000_000)
    answers = [await client.post(SIGNUP, headers=other.headers) for other in others]
    assert [one.status for one in answers] == [200, 200, 200, 429, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 86_400
    # Whoever has an address of their own is not counted.
    person = await join(pool)
    await verify(pool, person)
    assert (await post(client, SIGNUP, headers=person.headers))[0] == 200
    assert await pool.fetchval("SELECT claims FROM claim_addresses") == 3


async def test_a_refused_claim_does_not_count_for_its_address(
    client: Client, pool: Pool, member: Member
) -> None:
    await deposit(pool, member, 1_000_000)
    for _ in range(4):
        assert await post(client, SIGNUP) == (409, "promotion-budget-empty")
    await fill(pool)
    assert (await post(client, SIGNUP))[0] == 200


CARDS = """
CREATE TABLE IF NOT EXISTS payment_methods (
    id uuid PRIMARY KEY, organization_id uuid NOT NULL, provider text NOT NULL, mode text NOT NULL,
    provider_id text NOT NULL, type text NOT NULL, fingerprint text,
    created_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz
)
"""


async def add_card(pool: Pool, organization_id: UUID, fingerprint: str, mode: str = "test") -> UUID:
    await pool.execute(CARDS)
    card_id = uuid4()
    await pool.execute(
        "INSERT INTO payment_methods (id, organization_id, provider, mode, provider_id, type, fingerprint)"
        " VALUES ($1, $2, 'stripe', $3, $4, 'card', $5)",
        card_id, organization_id, mode, f"pm_{card_id.hex}", fingerprint,
    )  # fmt: skip
    return card_id


async def test_the_first_payment_method_has_a_bonus_and_a_card_has_one_once(
    client: Client, pool: Pool, member: Member
) -> None:
    await fill(pool)
    await verify(pool, member)
    assert await post(client, CARD) == (409, "payment-method-needed")
    await add_card(pool, member.id.organization_id, "live card", "live")
    removed = await add_card(pool, member.id.organization_id, "removed")
    await pool.execute("UPDATE payment_methods SET deleted_at = now() WHERE id = $1", removed)
    assert await post(client, CARD) == (409, "payment-method-needed")
    await add_card(pool, member.id.organization_id, "one")
    assert await post(client, CARD) == (200, {**GIVEN, "bonus_type": "payment_method"})
    assert await post(client, CARD) == (409, "bonus-already-claimed")
    other = await join(pool)
    await verify(pool, other)
    await add_card(pool, other.id.organization_id, "one")
    assert await post(client, CARD, headers=other.headers) == (409, "bonus-already-claimed")
    await add_card(pool, other.id.organization_id, "two")
    assert (await post(client, CARD, headers=other.headers))[0] == 200


async def test_two_accounts_with_one_card_at_once_have_one_bonus(client: Client, pool: Pool) -> None:
    await fill(pool)
    others = [await join(pool) for _ in range(6)]
    for one in others:
        await verify(pool, one)
        await add_card(pool, one.id.organization_id, "the same")
    answers = await asyncio.gather(*(post(client, CARD, headers=one.headers) for one in others))
    assert sorted(status for status, _ in answers) == [200] + [409] * 5


async def test_live_and_test_money_are_claimed_apart(client: Client, pool: Pool, member: Member) -> None:
    await fill(pool)
    await verify(pool, member)
    live = await bearer(pool, member.id, mode="live")
    assert await post(client, SIGNUP, headers=live) == (409, "promotion-budget-empty")
    assert (await post(client, SIGNUP))[0] == 200
    modes = await pool.fetch("SELECT DISTINCT mode FROM accounts WHERE kind = 'promotional' AND posted > 0")
    assert [row["mode"] for row in modes] == ["test"]
