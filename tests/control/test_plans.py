"""Plans: chosen, changed, and what an organization may have under them."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_aiohttp.plugin import AiohttpClient

from config.plans import Plan
from control import app
from control.api.ports import Ports
from control.invoicing.lines import Month, Subscription, fees
from control.metering import rollups
from control.plans import rules
from control.quotas import choices, headroom
from control.quotas.catalogue import id_of
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import usage
from gateway.ledger.usage import Usage
from tests.control.conftest import Client, Member, bearer, join
from tests.control.people import EMAIL, letters, log_in, person, signed_in, token
from tests.control.test_invoices import seller

SMALL = Plan(
    id="small", name="Small",
    quotas={"projects": 3, "api_keys": 4, "publishers": 2, "members": 2, "branches": 2},
)  # fmt: skip
MEDIUM = Plan(
    id="medium", name="Medium", price_per_month="10.00", quotas={"projects": 5, "calls_per_month": 10}
)
LARGE = Plan(id="large", name="Large", price_per_month="20.50", quotas={"projects": 1}, soft=("projects",))
# As dear as the medium one, with less room of one kind and more of another.
OTHER = Plan(id="other", name="Other", price_per_month="10.00", quotas={"projects": 4, "calls_per_month": 20})
PLANS = (SMALL, MEDIUM, LARGE, OTHER)
CHANGED = "/organizations/default/plan"
PROJECT = {"name": "p", "region": "local"}


@pytest.fixture
def ports(ports: Ports) -> Ports:
    """On a test network alone, so that plans are paid in test money."""
    networks = ports.settings.networks[:1]
    return replace(ports, settings=ports.settings.model_copy(update={"plans": PLANS, "networks": networks}))


async def choose(client: Client, plan: Plan, status: int = 200) -> dict[str, Any]:
    response = await client.post(CHANGED, json={"plan_id": str(id_of(plan))})
    answer = await response.json()
    assert response.status == status, answer
    return dict(answer)


async def current(client: Client) -> tuple[str, str | None, str | None]:
    """The plan that holds, when it ends, and what follows."""
    data = (await (await client.get(CHANGED)).json())["data"]
    chosen = data["organization_plan"]
    follows = next((one.id for one in PLANS if str(id_of(one)) == chosen["next_plan_id"]), None)
    return data["plan"]["name"], chosen["ends_at"], follows


async def test_the_catalogue_is_that_of_the_settings(stranger: Client) -> None:
    listed = (await (await stranger.get("/plans")).json())["data"]
    assert [(one["name"], one["price_monthly"], one["sort_order"]) for one in listed] == [
        ("small", "0", 0),
        ("medium", "10.00", 1),
        ("large", "20.50", 2),
        ("other", "10.00", 3),
    ]
    assert (await (await stranger.get(f"/plans/{listed[1]['id']}")).json())["data"] == listed[1]
    assert (await stranger.get(f"/plans/{uuid4()}")).status == 404
    assert (await stranger.get("/plans/none")).status == 400


async def test_more_holds_at_once_and_less_when_the_month_is_over(client: Client, pool: Pool) -> None:
    assert await current(client) == ("small", None, None)
    await choose(client, MEDIUM)
    assert await current(client) == ("medium", None, None)
    await choose(client, LARGE)
    assert await current(client) == ("large", None, None)
    ends = rules.next_month(datetime.now(UTC))
    await choose(client, MEDIUM)
    name, ends_at, follows = await current(client)
    assert (name, datetime.fromisoformat(ends_at or ""), follows) == ("large", ends, "medium")
    await choose(client, SMALL)
    assert (await current(client))[2] == "small"
    # Staying takes it back.
    await choose(client, LARGE)
    assert await current(client) == ("large", None, None)
    told = await pool.fetch("SELECT payload ->> 'plan' AS plan FROM events WHERE type = 'plan.changed'")
    assert [row["plan"] for row in told] == ["medium", "large", "medium", "small", "large"]


async def test_when_the_month_is_over_the_next_plan_holds(client: Client, pool: Pool, member: Member) -> None:
    await choose(client, LARGE)
    await choose(client, MEDIUM)
    later = rules.next_month(datetime.now(UTC)) + timedelta(seconds=1)
    row = await choices.current(pool, member.id.organization_id, later)
    assert row is not None
    assert (row["plan_id"], row["next_plan_id"]) == (id_of(MEDIUM), None)


async def test_a_plan_that_is_too_small_is_refused_and_says_for_what(client: Client) -> None:
    await choose(client, LARGE)
    for _ in range(6):
        assert (await client.post("/projects", json=PROJECT)).status == 201
    answer = await choose(client, MEDIUM, 409)
    assert answer["code"] == "plan-too-small"
    assert "6 projects of 5" in answer["detail"]
    assert (await current(client))[2] is None


async def test_as_dear_a_plan_with_less_room_is_refused_like_a_smaller_one(
    client: Client, pool: Pool, member: Member
) -> None:
    await choose(client, MEDIUM)
    for _ in range(5):
        assert (await client.post("/projects", json=PROJECT)).status == 201
    answer = await choose(client, OTHER, 409)
    assert (answer["code"], "5 projects of 4" in answer["detail"]) == ("plan-too-small", True)
    assert await current(client) == ("medium", None, None)
    await pool.execute(
        "UPDATE projects SET deleted_at = now() WHERE id = (SELECT id FROM projects ORDER BY id LIMIT 1)"
    )
    await choose(client, OTHER)
    # Calls of this month would be refused from now on.
    await called(pool, member.id.organization_id, 15)
    answer = await choose(client, MEDIUM, 409)
    assert "15 calls_per_month of 10" in answer["detail"]


async def test_whoever_has_too_much_may_choose_what_has_more_room(
    client: Client, pool: Pool, member: Member
) -> None:
    """More than any plan has: by a plan that left the catalogue, say."""
    await pool.execute(
        "INSERT INTO projects (id, organization_id, slug, name, region, created_by)"
        " SELECT gen_random_uuid(), $1, 'p-' || n, 'p', 'local', $2 FROM generate_series(1, 8) AS n",
        member.id.organization_id, member.id.user_id,
    )  # fmt: skip
    await choose(client, MEDIUM)
    assert (await current(client))[0] == "medium"


async def test_an_unknown_plan_is_404_and_no_plan_400(client: Client, member: Member) -> None:
    assert (await client.post(CHANGED, json={"plan_id": str(uuid4())})).status == 404
    assert (await client.post(CHANGED, json={"plan_id": "medium"})).status == 400
    for path in ("plan", "quota"):
        assert (await client.get(f"/organizations/{uuid4()}/{path}")).status == 404


async def test_a_plan_that_left_the_catalogue_counts_as_the_first(
    client: Client, pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient
) -> None:
    await choose(client, MEDIUM)
    fewer = replace(ports, settings=ports.settings.model_copy(update={"plans": (SMALL,)}))
    later = await aiohttp_client(app.create(pool, fewer), headers=member.headers)
    data = (await (await later.get(CHANGED)).json())["data"]
    assert (data["plan"]["name"], data["organization_plan"]["price_monthly"]) == ("small", "10.00")


async def test_whoever_changes_at_once_leaves_one_plan(client: Client, pool: Pool) -> None:
    wanted = [MEDIUM, LARGE] * 8
    bodies = [{"plan_id": str(id_of(one))} for one in wanted]
    answers = await asyncio.gather(*(client.post(CHANGED, json=body) for body in bodies))
    assert {one.status for one in answers} == {200}
    rows = await pool.fetch(
        "SELECT started_at, ends_at FROM organization_plans ORDER BY started_at, ends_at NULLS LAST"
    )
    assert [row["ends_at"] for row in rows].count(None) == 1
    for one, other in itertools.pairwise(rows):
        assert one["ends_at"] == other["started_at"]


QUOTAS = [
    ("/projects", 3),
    ("/organizations/default/api-keys", 3),
    ("/organizations/default/publishers", 2),
]


def body_for(path: str, number: int) -> dict[str, Any]:
    if path.endswith("publishers"):
        wallet = {"wallet_address": "0x" + "ee" * 20, "wallet_network_id": "eip155:84532"}
        named = {"name": "A", "slug": f"a-{number}", "publisher_category": "integration"}
        return {**named, **wallet, "api_url": "http://127.0.0.1:1", "auth_type": "passthrough"}
    return {"name": "k"} if path.endswith("api-keys") else PROJECT


@pytest.mark.parametrize(("path", "left"), QUOTAS)
async def test_of_twenty_at_once_only_so_many_are_made(client: Client, path: str, left: int) -> None:
    """``left`` of the plan: the member has a key already."""
    answers = await asyncio.gather(*(client.post(path, json=body_for(path, n)) for n in range(20)))
    refused = [await one.json() for one in answers if one.status != 201]
    assert len(refused) == 20 - left, refused[0]
    assert {(one["status"], one["code"]) for one in refused} == {(403, "quota-exceeded")}


async def test_v1_says_it_in_its_own_words(client: Client) -> None:
    for _ in range(3):
        assert (await client.post("/v1/projects", json={"name": "p"})).status == 201
    response = await client.post("/v1/projects", json={"name": "p"})
    assert (response.status, (await response.json())["code"]) == (402, "tier_limit_exceeded")


async def test_branches_have_a_quota_besides_the_first(client: Client) -> None:
    project = (await (await client.post("/projects", json=PROJECT)).json())["data"]
    where = f"/projects/{project['id']}/branches"
    answers = await asyncio.gather(*(client.post(where, json={"name": f"b{n}"}) for n in range(5)))
    assert sorted(one.status for one in answers) == [201, 201, 403, 403, 403]
    used = (await (await client.get("/organizations/default/quota")).json())["data"]
    assert used["current_branches"] == 2


async def test_what_is_deleted_makes_room(client: Client) -> None:
    made = [(await (await client.post("/projects", json=PROJECT)).json())["data"]["id"] for _ in range(3)]
    assert (await client.post("/projects", json=PROJECT)).status == 403
    assert (await client.delete(f"/projects/{made[0]}")).status == 200
    assert (await client.post("/projects", json=PROJECT)).status == 201


async def test_a_soft_quota_refuses_nothing(client: Client) -> None:
    await choose(client, LARGE)
    for _ in range(3):
        assert (await client.post("/projects", json=PROJECT)).status == 201
    data = (await (await client.get("/organizations/default/quota")).json())["data"]
    state = next(one for one in data["quotas"] if one["quota"] == "projects")
    assert (state["used"], state["limit"], state["is_hard"], state["is_over"]) == (3, 1, False, True)
    assert (data["current_projects"], data["is_over_projects_quota"]) == (3, True)
    assert data["projects_usage_percent"] == 300


async def test_members_beyond_the_quota_do_not_join_and_may_later(client: Client, pool: Pool) -> None:
    owner = await person(client, pool)
    for name in ("b", "c"):
        email = f"{name}@example.com"
        await person(client, pool, email)
        invited = await client.post(
            "/organizations/default/invites", json={"email": email, "role": "viewer"}, headers=owner.headers
        )
        assert invited.status == 201
    statuses = []
    for name in ("b", "c"):
        email = f"{name}@example.com"
        one = await signed_in(await log_in(client, email))
        body = {"token": await token(pool, "invite", email)}
        statuses.append((await client.post("/auth/accept-invite", json=body, headers=one.headers)).status)
        if name == "c":
            chosen = {"plan_id": str(id_of(MEDIUM))}
            assert (await client.post(CHANGED, json=chosen, headers=owner.headers)).status == 200
            again = await client.post("/auth/accept-invite", json=body, headers=one.headers)
            statuses.append(again.status)
    assert statuses == [200, 403, 200]


async def test_warnings_come_once_by_event_and_mail(client: Client, pool: Pool) -> None:
    owner = await person(client, pool)
    await choose_as(client, MEDIUM, owner.headers)
    made = []
    for _ in range(5):
        response = await client.post("/projects", json=PROJECT, headers=owner.headers)
        made.append((await response.json())["data"]["id"])
    await client.delete(f"/projects/{made[0]}", headers=owner.headers)
    assert (await client.post("/projects", json=PROJECT, headers=owner.headers)).status == 201
    told = await pool.fetch("SELECT type, payload FROM events WHERE type LIKE 'quota.%' ORDER BY created_at")
    assert [(row["type"], row["payload"]["used"]) for row in told] == [
        ("quota.near", "4"),
        ("quota.reached", "5"),
    ]
    mailed = [one for one in await letters(pool, EMAIL) if "quota" in one or "has of projects" in one]
    assert len(mailed) == 2


async def choose_as(client: Client, plan: Plan, headers: dict[str, str]) -> None:
    response = await client.post(CHANGED, json={"plan_id": str(id_of(plan))}, headers=headers)
    assert response.status == 200


async def called(pool: Pool, who: UUID, count: int) -> None:
    shop = await seller(pool)
    await usage.record(
        pool,
        [Usage(ids.new(), shop, who, None, "free", "GET", "/x", "free", 200) for _ in range(count)]
        + [Usage(ids.new(), shop, who, None, "free", "GET", "/x", "upstream_failed", 500)],
    )
    await rollups.roll_up(pool)


BLOCKS = "SELECT until FROM quota_blocks"


async def test_calls_beyond_the_quota_are_blocked_until_the_month_or_the_plan_ends(
    client: Client, pool: Pool, member: Member
) -> None:
    await choose(client, MEDIUM)
    await called(pool, member.id.organization_id, 9)
    await headroom.watch(pool, PLANS)
    assert await pool.fetchval(BLOCKS) is None
    await called(pool, member.id.organization_id, 1)
    await asyncio.gather(*(headroom.watch(pool, PLANS) for _ in range(4)))
    assert await pool.fetchval(BLOCKS) == rules.next_month(datetime.now(UTC))
    told = [row["type"] for row in await pool.fetch("SELECT type FROM events WHERE type LIKE 'quota.%'")]
    assert sorted(told) == ["quota.near", "quota.reached"]
    await choose(client, LARGE)
    assert await pool.fetchval(BLOCKS) is None
    await headroom.watch(pool, PLANS)
    assert await pool.fetchval(BLOCKS) is None


async def test_who_used_nothing_today_and_who_has_no_limit_is_left_alone(
    client: Client, pool: Pool, member: Member
) -> None:
    other = await join(pool)
    await called(pool, other.id.organization_id, 50)
    await headroom.watch(pool, PLANS)
    await headroom.watch(pool, [Plan(id="free", name="Free")])
    assert await pool.fetchval(BLOCKS) is None
    assert await pool.fetchval("SELECT count(*) FROM quota_warnings") == 0


async def test_viewers_look_and_do_not_choose(client: Client, pool: Pool, member: Member) -> None:
    narrow = await bearer(pool, member.id, ["billing.read"])
    assert (await client.get(CHANGED, headers=narrow)).status == 200
    response = await client.post(CHANGED, json={"plan_id": str(id_of(MEDIUM))}, headers=narrow)
    assert response.status == 403


@given(st.lists(st.tuples(st.integers(0, 30 * 86400), st.sampled_from([0, 1000, 2050, 9999])), max_size=8))
def test_any_sequence_of_changes_is_billed_for_what_held_when(changes: Sequence[tuple[int, int]]) -> None:
    """A plan at once when it costs as much or more, and at the month's end when it costs less."""
    month = Month(datetime(2026, 4, 1, tzinfo=UTC).date())
    held: list[tuple[datetime, int]] = [(month.start, 0)]
    for second, price in sorted(changes):
        now = month.start + timedelta(seconds=second)
        starts = rules.starts_at(now, held[-1][1], price)
        if starts == now:
            held.append((now, price))
        else:
            assert starts == month.end or second == 30 * 86400
    ends = [start for start, _ in held[1:]] + [month.end]
    rows = [
        Subscription("P", price, start, end)
        for (start, price), end in zip(held, ends, strict=True)
        if start <= end
    ]
    total = sum(line.amount_cents for line in fees(month, rows))
    exact = sum(
        one.price_cents * ((one.ends_at or month.end) - one.started_at).total_seconds() for one in rows
    )
    assert abs(total - exact / month.seconds) <= 0.5 + 1e-6
    assert total <= max(price for _, price in held)
