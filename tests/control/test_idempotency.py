"""``Idempotency-Key`` on operations that create something."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api import idempotency
from control.rooms import ROOMS
from gateway.kit.sql import Pool
from tests.control.conftest import NETWORKS, Client, Member, bearer, ports_with, refused_fields

KEYS = "/organizations/default/api-keys"
PUBLISHERS = "/organizations/default/publishers"
KEYED = {"Idempotency-Key": "make-1"}
SHOP = {
    "name": "Shop",
    "slug": "shop",
    "publisher_category": "integration",
    "api_url": "http://127.0.0.1:9",
    "wallet_address": "0x" + "ee" * 20,
    "wallet_network_id": "eip155:84532",
}


@pytest.mark.parametrize(("path", "body"), [(KEYS, {"name": "a"}), (PUBLISHERS, SHOP)])
async def test_the_same_request_has_the_same_answer(client: Client, pool: Pool, path: str, body: Any) -> None:
    first = await client.post(path, json=body, headers=KEYED)
    again = await client.post(path, json=body, headers=KEYED)
    assert (first.status, again.status) == (201, 201)
    assert await again.read() == await first.read()
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert await pool.fetchval("SELECT count(*) FROM api_keys") == (2 if path == KEYS else 1)
    assert await pool.fetchval("SELECT count(*) FROM publishers") == (0 if path == KEYS else 1)


async def test_a_key_that_is_shown_once_is_sealed(client: Client, pool: Pool) -> None:
    response = await client.post(KEYS, json={"name": "a"}, headers=KEYED)
    secret: str = (await response.json())["data"]["api_key"]
    stored = await pool.fetchval("SELECT answer FROM idempotent_requests")
    assert secret.encode() not in stored


async def test_another_request_under_the_same_key_is_refused(
    client: Client, pool: Pool, member: Member
) -> None:
    assert (await client.post(KEYS, json={"name": "a"}, headers=KEYED)).status == 201
    # Another key may not have been given that answer.
    other = {**KEYED, **await bearer(pool, member.id)}
    for path, body, headers in [
        (KEYS, {"name": "b"}, KEYED),
        (f"/organizations/{member.organization_id}/api-keys", {"name": "a"}, KEYED),
        (PUBLISHERS, SHOP, KEYED),
        (KEYS, {"name": "a"}, other),
    ]:
        response = await client.post(path, json=body, headers=headers)
        assert (response.status, (await response.json())["code"]) == (409, "idempotency-key-reused")


@pytest.mark.parametrize(("path", "body"), [(KEYS, {"name": "a"}), (PUBLISHERS, SHOP)])
async def test_twenty_at_once_create_one(
    client: Client, stranger: Client, pool: Pool, member: Member, path: str, body: Any
) -> None:
    """On two replicas."""
    before = await pool.fetchval("SELECT (SELECT count(*) FROM api_keys) + (SELECT count(*) FROM publishers)")
    headers = {**KEYED, **member.headers}
    replies = await asyncio.gather(
        *((client, stranger)[n % 2].post(path, json=body, headers=headers) for n in range(20))
    )
    assert {one.status for one in replies} <= {201, 409}
    last = await client.post(path, json=body, headers=headers)
    bodies = {await one.read() for one in replies if one.status == 201}
    assert bodies == {await last.read()}
    after = await pool.fetchval("SELECT (SELECT count(*) FROM api_keys) + (SELECT count(*) FROM publishers)")
    assert after == before + 1


async def test_what_failed_may_be_tried_again(client: Client, pool: Pool) -> None:
    await client.post(PUBLISHERS, json=SHOP)
    taken = await client.post(PUBLISHERS, json=SHOP, headers=KEYED)
    assert taken.status == 409
    assert await pool.fetchval("SELECT count(*) FROM idempotent_requests") == 0
    assert (await client.post(PUBLISHERS, json={**SHOP, "slug": "shop-2"}, headers=KEYED)).status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a\u00e9"])
async def test_a_malformed_key_is_refused(client: Client, key: str) -> None:
    response = await client.post(KEYS, json={"name": "a"}, headers={"Idempotency-Key": key})
    assert await refused_fields(response) == ["header/Idempotency-Key"]


async def test_an_answer_that_was_not_written_down_is_not_made_again(client: Client, pool: Pool) -> None:
    """Its process died after the commit that made the thing."""
    await client.post(PUBLISHERS, json=SHOP, headers=KEYED)
    await pool.execute("UPDATE idempotent_requests SET status = NULL, answer = NULL")
    for age, code in [("0 s", "request-in-progress"), ("2 minutes", "answer-not-kept")]:
        await pool.execute(f"UPDATE idempotent_requests SET created_at = now() - interval '{age}'")
        response = await client.post(PUBLISHERS, json=SHOP, headers=KEYED)
        assert (response.status, (await response.json())["code"]) == (409, code)


async def test_an_answer_under_a_retired_encryption_key_says_so(
    client: Client, pool: Pool, member: Member, aiohttp_client: AiohttpClient
) -> None:
    await client.post(KEYS, json={"name": "a"}, headers=KEYED)
    restarted = await aiohttp_client(app.create(pool, ports_with(NETWORKS)), headers=member.headers)
    response = await restarted.post(KEYS, json={"name": "a"}, headers=KEYED)
    assert (response.status, (await response.json())["code"]) == (409, "answer-not-kept")


async def test_keys_are_pruned(client: Client, pool: Pool) -> None:
    await client.post(KEYS, json={"name": "a"}, headers=KEYED)
    await idempotency.prune(pool, timedelta(hours=1))
    assert await pool.fetchval("SELECT count(*) FROM idempotent_requests") == 1
    await idempotency.prune(pool, timedelta(0))
    assert await pool.fetchval("SELECT count(*) FROM idempotent_requests") == 0


def test_every_operation_that_creates_something_for_a_caller_takes_a_key() -> None:
    taking = {one.id for room in ROOMS for one in room.operations if one.is_idempotent}
    assert {"create_org_api_key", "create_default_org_api_key", "create_publisher"} <= taking
    creating = {one.id for room in ROOMS for one in room.operations if one.status == 201}
    # Whoever has no key yet has no name to keep an answer under.
    assert creating - taking == {"agent_register", "signup"}
