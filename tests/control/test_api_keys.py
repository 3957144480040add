from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

import pytest

from control.api.access import Actor
from control.api.permissions import GRANTS
from control.api.ports import Ports
from control.api_keys import rules
from control.identity import people
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, refused_fields

DEFAULT = "/organizations/default/api-keys"


def actor(permissions: set[str], mode: Literal["live", "test"] = "live", *, is_scoped: bool = True) -> Actor:
    return Actor(UUID(int=1), UUID(int=2), UUID(int=3), mode, frozenset(permissions), is_scoped)


@pytest.mark.parametrize(
    ("maker", "scopes", "excess"),
    [
        (actor({"wallet.read", "publishers.read"}), ["wallet.read"], []),
        (actor({"wallet.read"}), ["wallet.spend", "publishers.read"], ["publishers.read", "wallet.spend"]),
        (actor(set(GRANTS["admin"]), is_scoped=False), None, []),
        # It would follow its user to a higher role, as its maker cannot.
        (actor(set(GRANTS["admin"])), None, ["every permission of its user"]),
        # The user that the key acts as is more than its maker.
        (actor(set(GRANTS["viewer"]), is_scoped=False), None,
         sorted(GRANTS["admin"] - GRANTS["viewer"])),
    ],
)  # fmt: skip
def test_excess_is_what_the_maker_lacks(maker: Actor, scopes: list[str] | None, excess: list[str]) -> None:
    assert rules.excess(maker, GRANTS["admin"], scopes) == excess


@pytest.mark.parametrize("organization", ["default", "own"])
async def test_a_created_key_works_until_it_is_revoked(
    client: Client, member: Member, organization: str
) -> None:
    name = member.organization_id if organization == "own" else organization
    at = f"/organizations/{name}/api-keys"
    response = await client.post(at, json={"name": "reader", "scopes": ["publishers.read"]})
    assert response.status == 201
    created = (await response.json())["data"]
    with_key = {"Authorization": f"Bearer {created['api_key']}"}
    assert (await client.get("/organizations/default/publishers", headers=with_key)).status == 200
    assert (await client.get("/wallet/balance", headers=with_key)).status == 403

    revoked = await client.delete(f"{at}/{created['id']}")
    assert (revoked.status, await revoked.read()) == (200, b"")
    assert (await client.get("/organizations/default/publishers", headers=with_key)).status == 401
    assert (await client.delete(f"{at}/{created['id']}")).status == 404


async def test_the_list_never_has_the_key_itself(client: Client) -> None:
    created = (await (await client.post(DEFAULT, json={"name": "second", "expires_in_days": 30})).json())[
        "data"
    ]
    listed = await (await client.get(DEFAULT)).json()
    assert created.pop("api_key") not in str(listed)
    assert listed["data"][1] == created
    assert listed["pagination"] == {"total": 2, "count": 2, "limit": 100, "offset": 0, "has_more": False}
    assert created["key_id"] == created["id"]
    assert created["key_prefix"].startswith("fb_test_")
    in_days = datetime.fromisoformat(created["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < in_days <= timedelta(days=30)


async def test_a_revoked_key_stays_listed(client: Client) -> None:
    created = (await (await client.post(DEFAULT, json={"name": "second"})).json())["data"]
    await client.delete(f"{DEFAULT}/{created['id']}")
    listed = (await (await client.get(DEFAULT)).json())["data"]
    assert [one["revoked_at"] is not None for one in listed] == [False, True]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["body/name"]),
        ({"name": "a", "expires_in_days": 0}, ["body/expires_in_days"]),
        ({"name": "a", "expires_in_days": 3651}, ["body/expires_in_days"]),
        ({"name": "a", "scopes": []}, ["body/scopes"]),
        ({"name": "a", "scopes": ["everything"]}, ["body/scopes/0"]),
        ({"name": "a", "key_type": "robot"}, ["body/key_type"]),
        ({"name": "a", "mode": "play"}, ["body/mode"]),
        ({"name": "a", "agent_identity_id": str(uuid4())}, ["body/agent_identity_id"]),
    ],
)
async def test_a_bad_key_is_refused(client: Client, body: object, fields: list[str]) -> None:
    assert await refused_fields(await client.post(DEFAULT, json=body)) == fields


@pytest.mark.parametrize(
    ("scopes", "asked"),
    [
        (["api_keys.write"], {"scopes": ["wallet.spend"]}),
        (["api_keys.write"], {}),
        (None, {"mode": "live"}),                        # the maker's own money is for tests
        (None, {"scopes": ["platform.operate"]}),
    ],
)  # fmt: skip
async def test_a_key_grants_no_more_than_its_maker_may(
    client: Client, pool: Pool, member: Member, scopes: list[str] | None, asked: dict[str, object]
) -> None:
    maker = await bearer(pool, member.id, scopes)
    response = await client.post(DEFAULT, json={"name": "climber", **asked}, headers=maker)
    assert (response.status, (await response.json())["code"]) == (403, "permission-not-held")
    assert await pool.fetchval("SELECT count(*) FROM api_keys WHERE name = 'climber'") == 0


async def test_a_live_key_makes_keys_of_either_mode(client: Client, pool: Pool, member: Member) -> None:
    maker = await bearer(pool, member.id, mode="live")
    for asked, mode in [({}, "live"), ({"mode": "test"}, "test")]:
        created = await client.post(DEFAULT, json={"name": "a", **asked}, headers=maker)
        assert (await created.json())["data"]["mode"] == mode


async def test_a_key_may_act_as_an_agent_of_the_organization(
    client: Client, pool: Pool, member: Member
) -> None:
    agent = await people.create(pool, "agent", "Helper", None)
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'viewer')",
        member.id.organization_id,
        agent.user_id,
    )
    asked = {"name": "helper", "key_type": "agent", "agent_identity_id": str(agent.user_id)}
    created = (await (await client.post(DEFAULT, json=asked)).json())["data"]
    assert created["key_type"] == "agent"
    with_key = {"Authorization": f"Bearer {created['api_key']}"}
    assert (await client.get(DEFAULT, headers=with_key)).status == 200
    assert (await client.post(DEFAULT, json={"name": "a"}, headers=with_key)).status == 403


async def test_a_person_names_the_agent_that_an_agent_key_is_for(
    client: Client, pool: Pool, member: Member
) -> None:
    await pool.execute("UPDATE users SET kind = 'person' WHERE id = $1", member.id.user_id)
    response = await client.post(DEFAULT, json={"name": "a", "key_type": "agent"})
    assert await refused_fields(response) == ["body/agent_identity_id"]
    plain = await client.post(DEFAULT, json={"name": "a"})
    assert (await plain.json())["data"]["key_type"] == "user"


async def test_scopes_are_replaced(client: Client, pool: Pool, member: Member) -> None:
    made = (await (await client.post(DEFAULT, json={"name": "k"})).json())["data"]
    at = f"/organizations/{member.organization_id}/api-keys/{made['id']}/scopes"
    with_key = {"Authorization": f"Bearer {made['api_key']}"}
    changed = await client.patch(at, json={"scopes": ["wallet.read", "wallet.read"]})
    assert (await changed.json())["data"]["scopes"] == ["wallet.read"]
    assert (await client.get("/wallet/balance", headers=with_key)).status == 200
    assert (await client.get(DEFAULT, headers=with_key)).status == 403
    for scopes, status in [([], 400), (["no.such"], 400), (["platform.operate"], 403)]:
        assert (await client.patch(at, json={"scopes": scopes})).status == status
    # A key does not widen itself, nor another one beyond itself.
    wide = {"scopes": ["api_keys.write", "wallet.read"]}
    assert (await client.patch(at, json=wide)).status == 200
    assert (await client.patch(at, json=wide, headers=with_key)).status == 403
    other = (await (await client.post(DEFAULT, json={"name": "k"})).json())["data"]
    beyond = at.replace(made["id"], other["id"])
    assert (await client.patch(beyond, json={"scopes": ["wallet.spend"]}, headers=with_key)).status == 403
    assert (await client.patch(at.replace(made["id"], str(uuid4())), json=wide)).status == 404


async def test_a_keys_last_use_is_known(client: Client, pool: Pool, ports: Ports) -> None:
    (before,) = (await (await client.get(DEFAULT)).json())["data"]
    assert before["last_used_at"] is None
    await ports.uses.write(pool)
    (once,) = (await (await client.get(DEFAULT)).json())["data"]
    await ports.uses.write(pool)
    (again,) = (await (await client.get(DEFAULT)).json())["data"]
    # Written once a minute at most.
    assert once["last_used_at"] == again["last_used_at"] is not None
