"""What members, and keys of theirs, tried to get beyond what they were given."""

import asyncio

import pytest

from control.api import wire_ids
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join
from tests.control.test_members import colleague
from tests.control.test_oauth import Hub, connections_of, hub, provider
from tests.control.test_projects import create as make_project
from tests.control.test_webhooks import AT as WEBHOOKS
from tests.control.test_webhooks import emit, register

__all__ = ["hub", "provider"]

KEYS = "/organizations/default/api-keys"


async def capped(client: Client) -> tuple[str, dict[str, str]]:
    made = await client.post(KEYS, json={"name": "capped", "spend_caps": {"per_day": "1"}})
    assert made.status == 201, await made.text()
    data = (await made.json())["data"]
    return data["key_id"], {"Authorization": f"Bearer {data['api_key']}"}


async def test_a_capped_key_is_not_uncapped_by_a_key_that_it_makes(client: Client) -> None:
    """The second key has no caps, because it may not spend; nor may it let others."""
    key_id, headers = await capped(client)
    asked = {"name": "second", "scopes": ["api_keys.write"]}
    second = (await (await client.post(KEYS, json=asked, headers=headers)).json())["data"]["api_key"]
    for change, status in [({"per_day": ""}, 403), ({"per_day": "2"}, 403), ({"per_day": "0.5"}, 200)]:
        response = await client.patch(
            f"{KEYS}/{key_id}/spend-caps", json=change, headers={"Authorization": f"Bearer {second}"}
        )
        assert response.status == status, change


async def test_a_capped_key_lets_nobody_else_spend(client: Client, pool: Pool, member: Member) -> None:
    _, headers = await capped(client)
    viewer, _ = await colleague(pool, member, "viewer")
    invited = {"email": "accomplice@example.com", "role": "editor"}
    role = {"name": "Spender", "permissions": ["wallet.spend"]}
    for method, path, body in [
        ("POST", "/organizations/default/invites", invited),
        ("POST", "/organizations/default/roles", role),
        ("PUT", f"/organizations/default/members/{viewer.user_id}/role", {"role_name": "editor"}),
    ]:
        response = await client.request(method, path, json=body, headers=headers)
        assert (response.status, (await response.json())["code"]) == (403, "permission-not-held"), path
    looks = {"email": "reader@example.com", "role": "viewer"}
    assert (await client.post("/organizations/default/invites", json=looks, headers=headers)).status == 201


async def test_a_key_for_test_money_changes_no_caps_of_live_money(
    client: Client, pool: Pool, member: Member
) -> None:
    live = await bearer(pool, member.id, mode="live")
    made = await client.post(KEYS, json={"name": "live", "mode": "live"}, headers=live)
    key_id = (await made.json())["data"]["key_id"]
    path = f"{KEYS}/{key_id}/spend-caps"
    assert (await client.patch(path, json={"total": "5"}, headers=live)).status == 200
    assert (await client.patch(path, json={"total": "500"})).status == 403
    assert (await client.patch(path, json={"total": "500"}, headers=live)).status == 200


async def test_a_key_of_somebody_who_left_a_project_is_dead_for_good(
    client: Client, pool: Pool, stranger: Client
) -> None:
    named = (await make_project(client))["id"]
    project_id = wire_ids.read(wire_ids.PROJECT, named)
    guest = (await join(pool)).id
    invite = "INSERT INTO project_members (project_id, user_id, role) VALUES ($1, $2, 'admin')"
    await pool.execute(invite, project_id, guest.user_id)
    made = await client.post(f"/v1/projects/{named}/api-keys", json={"name": "theirs"})
    headers = {"Authorization": f"Bearer {(await made.json())['plaintext']}"}
    await pool.execute("UPDATE api_keys SET user_id = $1 WHERE name = 'theirs'", guest.user_id)
    assert (await stranger.get(f"/v1/projects/{named}", headers=headers)).status == 200
    removed = await client.delete(f"/v1/projects/{named}/members/{guest.user_id.hex}")
    assert removed.status == 200, await removed.text()
    await pool.execute(invite, project_id, guest.user_id)
    assert (await stranger.get(f"/v1/projects/{named}", headers=headers)).status == 401


@pytest.mark.parametrize("name", ["token_url", "revocation_url"])
async def test_a_secret_goes_to_no_server_that_it_was_not_for(hub: Hub, name: str) -> None:
    """Whoever may change a provider could read its secret, and every user's refresh token."""
    await hub.connect()
    at = f"/organizations/default/oauth/providers/{hub.id}"
    elsewhere = {name: "http://127.0.0.1:9/collect"}
    response = await hub.client.patch(at, json=elsewhere)
    assert response.status == 400
    assert [one["pointer"] for one in (await response.json())["errors"]] == ["body/client_secret"]
    assert len(await connections_of(hub.client)) == 1
    # The same server may be spelled otherwise, and a revocation be given up.
    same = {"token_url": f"{hub.provider.url}/token?v=2", "revocation_url": None}
    assert (await hub.client.patch(at, json=same)).status == 200
    assert len(await connections_of(hub.client)) == 1
    assert (await hub.client.patch(at, json={**elsewhere, "client_secret": "another"})).status == 200
    assert await connections_of(hub.client) == []


async def test_connecting_is_in_the_audit_log(hub: Hub, pool: Pool, member: Member) -> None:
    await hub.connect()
    row = await pool.fetchrow(
        "SELECT organization_id, actor_id, action_category, metadata::text FROM audit_logs "
        "WHERE action = 'oauth_callback'"
    )
    assert row is not None
    assert (row["organization_id"], row["actor_id"]) == (member.id.organization_id, member.id.user_id)
    assert row["action_category"] == "create"
    assert "code=" not in row["metadata"]


async def test_a_replay_asked_for_a_thousand_times_is_one(client: Client, pool: Pool, member: Member) -> None:
    webhook_id, _ = await register(client, "http://127.0.0.1:9/")
    await emit(pool, member)
    await pool.execute("UPDATE webhook_deliveries SET state = 'failed'")
    delivery = await pool.fetchval("SELECT id FROM webhook_deliveries")
    path = f"{WEBHOOKS}/{webhook_id}/deliveries/{delivery}/replay"
    first = await client.post(path)
    assert first.status == 201
    replayed = [first, *await asyncio.gather(*(client.post(path) for _ in range(20)))]
    assert {(await one.json())["data"]["id"] for one in replayed} == {(await first.json())["data"]["id"]}
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 2
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'") == 1


async def test_a_permission_that_is_taken_from_a_role_does_not_come_back(client: Client, pool: Pool) -> None:
    """Somebody renames the role in the same moment, from what it was before."""
    body = {"name": "Role", "permissions": ["members.read", "api_keys.write"]}
    made = (await (await client.post("/organizations/default/roles", json=body)).json())["data"]
    path = f"/organizations/default/roles/{made['id']}"
    for number in range(10):
        await client.patch(path, json={"permissions": ["members.read", "api_keys.write"]})
        await asyncio.gather(
            client.patch(path, json={"permissions": ["members.read"]}),
            *(client.patch(path, json={"name": f"Role {number}.{one}"}) for one in range(3)),
        )
        after = (await (await client.get(path)).json())["data"]["permissions"]
        assert len(after) == 1
