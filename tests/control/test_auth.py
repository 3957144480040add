from uuid import UUID

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.bootstrap import ensure_operator
from gateway.kit import keys
from gateway.kit.sql import Pool
from tests.control.conftest import NETWORKS, Client, ports_with, refused_fields


async def test_anyone_registers_and_uses_the_key_at_once(stranger: Client, pool: Pool) -> None:
    response = await stranger.post("/auth/agent", json={})
    assert response.status == 201
    data = (await response.json())["data"]
    agent = data["agent"]
    assert (data["success"], agent["status"], agent["user_type"], agent["email"]) == (
        True,
        "active",
        "agent",
        "",
    )
    assert UUID(agent["id"]).version == UUID(agent["organization_id"]).version == 7

    with_key = {"Authorization": f"Bearer {agent['api_key']}"}
    own = await (await stranger.get("/organizations", headers=with_key)).json()
    assert [one["id"] for one in own["data"]] == [agent["organization_id"]]
    stored = await pool.fetchrow("SELECT users.kind, role FROM users JOIN members ON user_id = users.id "
                                 "WHERE users.id = $1", UUID(agent["id"]))  # fmt: skip
    assert tuple(stored or ()) == ("agent", "owner")


async def test_the_key_is_stored_only_as_its_fingerprint(stranger: Client, pool: Pool) -> None:
    agent = (await (await stranger.post("/auth/agent", json={})).json())["data"]["agent"]
    stored = await pool.fetch("SELECT api_keys::text AS row FROM api_keys")
    assert stored
    assert all(agent["api_key"] not in one["row"] for one in stored)


async def test_a_name_and_an_address_are_kept(stranger: Client) -> None:
    given = {"name": "Ünï Research Agent", "email": "owner@example.com"}
    response = await stranger.post("/auth/agent", json=given)
    agent = (await response.json())["data"]["agent"]
    assert agent.items() >= {**given, "email_verified": False}.items()


async def test_made_up_names_differ(stranger: Client) -> None:
    names = {
        (await (await stranger.post("/auth/agent", json={})).json())["data"]["agent"]["name"]
        for _ in range(10)
    }
    assert len(names) == 10


async def test_links_are_on_the_public_origin(stranger: Client) -> None:
    data = (await (await stranger.post("/auth/agent", json={})).json())["data"]
    assert data["skill_files"]["docs"] == "https://gateway.example/docs"
    assert "https://gateway.example/publishers" in data["setup"]["step_3"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"email": "nobody"}, ["body/email"]),
        ({"email": "a@b c.example"}, ["body/email"]),
        ({"name": ""}, ["body/name"]),
        ({"name": " "}, ["body/name"]),
        ({"name": "a\nb"}, ["body/name"]),
        ({"name": "a" * 101, "email": "x", "colour": 1}, ["body/email", "body/name", "body/colour"]),
    ],
)
async def test_a_bad_registration_is_refused(stranger: Client, body: object, fields: list[str]) -> None:
    assert await refused_fields(await stranger.post("/auth/agent", json=body)) == fields


@pytest.mark.parametrize(
    ("networks", "prefix"),
    [
        (NETWORKS, "fb_live_"),       # one of them is live
        (NETWORKS[:1], "fb_test_"),
        ([], "fb_test_"),
    ],
)  # fmt: skip
async def test_a_key_is_live_where_a_network_is(
    pool: Pool, aiohttp_client: AiohttpClient, networks: list[object], prefix: str
) -> None:
    client = await aiohttp_client(app.create(pool, ports_with(networks)))
    agent = (await (await client.post("/auth/agent", json={})).json())["data"]["agent"]
    assert agent["api_key"].startswith(prefix)


async def test_the_operator_gets_a_key_once(pool: Pool, stranger: Client) -> None:
    key = await ensure_operator(pool)
    assert key is not None
    assert keys.is_well_formed(key)
    assert await ensure_operator(pool) is None
    response = await stranger.get("/organizations", headers={"Authorization": f"Bearer {key}"})
    assert [one["slug"] for one in (await response.json())["data"]] == ["platform"]


async def test_a_revoked_operator_key_is_not_made_again(pool: Pool) -> None:
    await ensure_operator(pool)
    await pool.execute("UPDATE api_keys SET revoked_at = now()")
    assert await ensure_operator(pool) is None
