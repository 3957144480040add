import asyncio
from typing import Any
from uuid import uuid4

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.providers import jobs, routes
from gateway.kit import crypto
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from tests.control.conftest import Client, Member, bearer, join, newer, refused_fields

AT = "/organizations/default/oauth/providers"
PROVIDER = {
    "slug": "hub",
    "name": "Hub",
    "authorization_url": "http://93.184.216.34/authorize",
    "token_url": "http://93.184.216.34/token",
    "client_id": "id",
    "client_secret": "very secret",
    "scopes": ["read", "write:all"],
}


async def create(client: Client, **more: Any) -> dict[str, Any]:
    response = await client.post(AT, json={**PROVIDER, **more})
    assert response.status == 201, await response.text()
    made: dict[str, Any] = (await response.json())["data"]
    return made


async def test_a_provider_is_made_shown_changed_and_deleted(client: Client, member: Member) -> None:
    made = await create(client, description="a hub", custom_auth_params={"access_type": "offline"})
    assert "very secret" not in str(made)
    assert "client_secret" not in made
    assert (made["pkce_required"], made["token_endpoint_auth_method"]) == (True, "client_secret_post")
    assert made["organization_id"] == member.organization_id
    at = f"{AT}/{made['id']}"
    assert (await (await client.get(at)).json())["data"] == made
    assert (await (await client.get(AT)).json())["data"] == [made]
    changed = await client.patch(at, json={"name": "Other", "description": None, "token_url": None})
    after = (await changed.json())["data"]
    assert (changed.status, after["name"], after["description"]) == (200, "Other", None)
    assert after["token_url"] == made["token_url"]
    assert after["custom_auth_params"] == {"access_type": "offline"}
    deleted = await client.delete(at)
    assert (deleted.status, await deleted.read()) == (204, b"")
    assert (await client.get(at)).status == 404


async def test_a_slug_is_an_organizations_once(pool: Pool, client: Client) -> None:
    await create(client)
    other = await create(client, slug="other")
    assert (await client.post(AT, json=PROVIDER)).status == 409
    assert (await client.patch(f"{AT}/{other['id']}", json={"slug": "hub"})).status == 409
    somebody = await join(pool)
    assert (await client.post(AT, json=PROVIDER, headers=somebody.headers)).status == 201


async def test_two_at_once_are_not_one_too_many(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PROVIDERS_MAX", 2)
    bodies = [{**PROVIDER, "slug": f"hub-{number}"} for number in range(8)]
    responses = await asyncio.gather(*(client.post(AT, json=body) for body in bodies))
    assert sorted(one.status for one in responses) == [201] * 2 + [409] * 6
    assert len((await (await client.get(AT)).json())["data"]) == 2


async def test_a_foreign_provider_is_as_absent_as_an_unknown_one(pool: Pool, client: Client) -> None:
    made = await create(client)
    other = (await join(pool)).headers
    for provider_id in (made["id"], uuid4()):
        for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
            response = await client.request(method, f"{AT}/{provider_id}", json=body, headers=other)
            assert response.status == 404


async def test_only_who_may_write_does(pool: Pool, client: Client, member: Member) -> None:
    made = await create(client)
    reader = await bearer(pool, member.id, ["oauth.read", "oauth.write"])
    assert (await client.get(f"{AT}/{made['id']}", headers=reader)).status == 200
    assert (await client.delete(f"{AT}/{made['id']}", headers=reader)).status == 403


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"token_url": "http://169.254.169.254/token"}, ["body/token_url"]),
        ({"authorization_url": "javascript:alert(1)"}, ["body/authorization_url"]),
        ({"revocation_url": "http://127.0.0.1/", "userinfo_url": "http://10.0.0.1/"},
         ["body/revocation_url", "body/userinfo_url"]),
        ({"slug": "A B"}, ["body/slug"]),
        ({"scopes": ["a b"]}, ["body/scopes/0"]),
        ({"custom_auth_params": {"a&b": "x"}}, ["body/custom_auth_params/a&b"]),
        ({"client_secret": ""}, ["body/client_secret"]),
        ({"token_endpoint_auth_method": "none"}, ["body/token_endpoint_auth_method"]),
    ],
)  # fmt: skip
async def test_what_cannot_be_a_provider_is_400(
    pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient, change: Any, fields: list[str]
) -> None:
    strict = Ports(Guard(is_private_allowed=False), ports.keyring, ports.modes, ports.settings)
    client = await aiohttp_client(app.create(pool, strict), headers=member.headers)
    assert await refused_fields(await client.post(AT, json={**PROVIDER, **change})) == fields


async def test_a_provider_that_a_publisher_needs_stays(client: Client) -> None:
    made = await create(client)
    body = {
        "name": "Shop", "slug": "shop", "publisher_category": "integration",
        "api_url": "http://93.184.216.34/", "wallet_address": "0x" + "11" * 20,
        "wallet_network_id": "eip155:84532", "requires_user_oauth": True,
    }  # fmt: skip
    publishers = "/organizations/default/publishers"
    assert await refused_fields(await client.post(publishers, json=body)) == ["body/oauth_provider_slug"]
    unknown = {**body, "oauth_provider_slug": "nobody's"}
    assert await refused_fields(await client.post(publishers, json=unknown)) == ["body/oauth_provider_slug"]
    response = await client.post(publishers, json={**body, "oauth_provider_slug": "hub"})
    assert response.status == 201, await response.text()
    publisher = (await response.json())["data"]
    assert (publisher["requires_user_oauth"], publisher["oauth_provider_id"]) == (True, made["id"])
    refused = await client.delete(f"{AT}/{made['id']}")
    assert (refused.status, (await refused.json())["code"]) == (409, "oauth-provider-in-use")
    at = f"{publishers}/{publisher['id']}"
    assert (await client.put(at, json={"requires_user_oauth": False})).status == 200
    assert (await client.delete(f"{AT}/{made['id']}")).status == 204


async def test_secrets_outlive_their_key(pool: Pool, ports: Ports, client: Client) -> None:
    made = await create(client)
    both, only = newer(ports.keyring)
    assert (await jobs.reseal(pool, both), await jobs.reseal(pool, both)) == (1, 0)
    row = await pool.fetchrow("SELECT id, organization_id, secret_sealed FROM oauth_providers")
    assert row is not None
    place = crypto.context(row["organization_id"], row["id"])
    assert only.open(row["secret_sealed"], place) == b"very secret"
    assert str(row["id"]) == made["id"]
