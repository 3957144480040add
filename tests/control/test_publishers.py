import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.publishers import jobs, suggest
from gateway.kit import crypto
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from tests.control.conftest import LIVE_USDC, TEST_CENT, TEST_USDC, Client, Member, join, refused_fields

AT = "/organizations/default/publishers"
WALLET = "0x" + "12" * 20
NEW: dict[str, Any] = {
    "name": "Weather",
    "slug": "weather",
    "publisher_category": "integration",
    "wallet_address": WALLET,
    "wallet_network_id": "eip155:84532",
    "api_url": "http://127.0.0.1:9/v1",
}
ONE_ASSET: dict[str, Any] = {**NEW, "accepted_asset_ids": [str(TEST_USDC)]}


async def created(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    response = await client.post(AT, json=body)
    assert response.status == 201, await response.text()
    data: dict[str, Any] = (await response.json())["data"]
    return data


async def changed(client: Client, publisher_id: str, body: dict[str, Any]) -> dict[str, Any]:
    response = await client.put(f"{AT}/{publisher_id}", json=body)
    assert response.status == 200, await response.text()
    data: dict[str, Any] = (await response.json())["data"]
    return data


async def test_a_rate_by_the_hour_that_nobody_would_be_charged_is_refused(client: Client) -> None:
    passed_through = {**ONE_ASSET, "billing_model": "x402_passthrough", "gateway_fee_percent": "1"}
    refused = await client.post(AT, json={**passed_through, "hourly_rate": "1"})
    assert await refused_fields(refused) == ["body/hourly_rate"]
    made = await created(client, passed_through)
    pricing = f"{AT}/{made['id']}/pricing"
    rate = {"asset_id": str(TEST_USDC), "hourly_rate": "1"}
    assert await refused_fields(await client.put(pricing, json=rate)) == ["body/hourly_rate"]
    timed = await created(client, {**ONE_ASSET, "slug": "timed", "hourly_rate": "1"})
    refused = await client.put(f"{AT}/{timed['id']}", json={"billing_model": "x402_passthrough"})
    assert await refused_fields(refused) == ["body/billing_model"]
    # With the rate taken away, and without one that is nothing, it goes.
    for rate_now in ("", "0"):
        body = {"billing_model": "x402_passthrough", "hourly_rate": rate_now}
        await changed(client, timed["id"], body)


async def unsealed(pool: Pool, ports: Ports) -> dict[str, Any]:
    row = await pool.fetchrow("SELECT id, organization_id, auth_sealed FROM publishers")
    assert row is not None
    opened = ports.keyring.open(row["auth_sealed"], crypto.context(row["organization_id"], row["id"]))
    settings: dict[str, Any] = json.loads(opened)
    return settings


GIVEN: dict[str, Any] = {
    "publisher_type": "organization",
    "description": "Forecasts",
    "email": "help@weather.example",
    "logo_url": "https://weather.example/logo.png",
    "resource_name": "forecast",
    "resource_description": "A forecast",
    "categories": ["weather"],
    "capabilities": ["forecasts"],
    "use_cases": ["Plan a picnic"],
    "usage_examples": [{"title": "Today", "description": None, "curl": "curl ..."}],
    "billing_model": "pay_per_use",
    "gateway_fee_percent": "2.5",
    "upstream_cost_response_path": "usage.cost",
    "mcp_endpoint": "http://127.0.0.1:9/mcp",
    "a2a_endpoint_url": "http://127.0.0.1:9/a2a",
    "undocumented_endpoint_policy": "default_deny",
    "auth_type": "static",
    "api_key_header": "X-Key",
    "allowed_passthrough_headers": ["X-Trace"],
    "passthrough_header_rewrite": {"X-Trace": "X-Request-Id"},
    "upstream_headers": {"User-Agent": "farebox"},
    "request_content_type": "application/x-ndjson",
    "token_exchange_url": "http://127.0.0.1:9/token",
    "token_exchange_method": "POST",
    "token_exchange_mode": "header",
    "token_response_field": "access_token",
    "token_cache_ttl_seconds": 600,
    "integration_type": "api",
    "compute_type": "function",
    "database_type": "neon",
    "database_name": "main",
    "project_id": str(uuid4()),
    "branch_id": str(uuid4()),
    "routing": {"proxy_region": "EU", "mode": "opt_in"},
    "requires_user_oauth": False,
    "ownership_tracking_enabled": True,
    "resource_id_response_path": "$.id",
    "resource_id_url_pattern": "/things/:resourceId",
    "protected_operations": {"delete": [None, {"deep": None}]},
}


async def test_everything_given_is_read_back(client: Client) -> None:
    publisher = await created(client, {**NEW, **GIVEN})
    shown = (await (await client.get(f"{AT}/{publisher['id']}")).json())["data"]
    assert shown == publisher
    assert shown.items() >= {**NEW, **GIVEN, "is_active": True, "is_verified": False}.items()
    assert UUID(publisher["id"]).version == 7
    assert (publisher["total_queries"], publisher["total_revenue_atomic"]) == (0, 0)


async def test_nothing_given_is_a_publisher_with_defaults(client: Client) -> None:
    publisher = await created(client, {**NEW, **dict.fromkeys(GIVEN), "price_per_call": None})
    assert (
        publisher.items()
        >= {
            "auth_type": "static",
            "billing_model": "x402_per_request",
            "publisher_type": "individual",
            "undocumented_endpoint_policy": "default_allow",
            "request_content_type": "application/json",
            "gateway_fee_percent": "0",
            "capabilities": [],
            "description": None,
        }.items()
    )
    assert [one["id"] for one in publisher["accepted_assets"]] == [str(TEST_USDC), str(TEST_CENT)]
    assert publisher["accepted_assets"][0].items() >= {
        "symbol": "USDC", "decimals": 6, "network_id": "eip155:84532", "network_name": "base-sepolia",
        "contract_address": "0x" + "ab" * 20, "is_native": False, "is_stablecoin": True,
    }.items()  # fmt: skip


async def test_secrets_are_sealed_and_never_shown(client: Client, pool: Pool, ports: Ports) -> None:
    secret = {"upstream_api_key": "s3cret-1", "api_headers": {"X-More": "s3cret-2"}}
    response = await client.post(AT, json={**NEW, **secret, "api_key_header": "X-Key"})
    listed, shown = await client.get(AT), await client.get("/publishers/weather")
    row = await pool.fetchval("SELECT publishers::text FROM publishers")
    for text in [await response.text(), await listed.text(), await shown.text(), row]:
        assert "s3cret" not in text
    assert await unsealed(pool, ports) == {**secret, "api_key_header": "X-Key"}


async def test_without_credentials_nothing_is_sealed(client: Client, pool: Pool) -> None:
    await created(client, NEW)
    assert await pool.fetchval("SELECT auth_sealed FROM publishers") is None


@pytest.mark.parametrize(
    ("body", "sealed"),
    [
        ({"auth_type": "jwt", "jwt_access_key": "ak", "jwt_secret_key": "s" * 32},
         {"jwt_access_key": "ak", "jwt_secret_key": "s" * 32, "jwt_algorithm": "HS256",
          "jwt_expiration_seconds": 1800}),
        ({"auth_type": "oauth2_cc", "oauth2_token_url": "http://127.0.0.1:9/t", "oauth2_client_id": "c",
          "oauth2_client_secret": "s", "oauth2_scopes": ["a", "b"]},
         {"oauth2_token_url": "http://127.0.0.1:9/t", "oauth2_client_id": "c", "oauth2_client_secret": "s",
          "oauth2_scopes": ["a", "b"]}),
        ({"auth_type": "passthrough", "allowed_passthrough_headers": ["X-Their-Key"]},
         {"allowed_passthrough_headers": ["X-Their-Key"]}),
        ({"auth_type": "static", "auth_settings": {"upstream_api_key": "k"}}, {"upstream_api_key": "k"}),
    ],
)  # fmt: skip
async def test_a_mode_takes_its_own_fields(
    client: Client, pool: Pool, ports: Ports, body: dict[str, Any], sealed: dict[str, Any]
) -> None:
    await created(client, {**NEW, **body})
    assert await unsealed(pool, ports) == sealed


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"auth_type": "magic"}, ["body/auth_type"]),
        ({"auth_type": "jwt"}, ["body/jwt_access_key", "body/jwt_secret_key"]),
        ({"jwt_secret_key": "s" * 32}, ["body/jwt_secret_key"]),
        ({"auth_settings": {"colour": 1}}, ["body/auth_settings/colour"]),
        ({"upstream_api_key": "two\nlines"}, ["body/upstream_api_key"]),
        ({"api_key_header": "Host", "upstream_api_key": "k"}, ["body/api_key_header"]),
        ({"upstream_headers": {"Authorization": "x"}}, ["body/upstream_headers/Authorization"]),
        ({"slug": "No Slug"}, ["body/slug"]),
        ({"slug": "a--b"}, ["body/slug"]),
        ({"slug": "a"}, ["body/slug"]),
        ({"wallet_address": "0x12"}, ["body/wallet_address"]),
        ({"wallet_address": "0x" + "0" * 40}, ["body/wallet_address"]),
        ({"wallet_address": "0xFb6916095ca1df60bB79Ce92cE3Ea74c37c5d359"}, ["body/wallet_address"]),
        ({"wallet_address": "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM"}, ["body/wallet_address"]),
        ({"wallet_network_id": "eip155:1"}, ["body/wallet_network_id"]),
        ({"accepted_asset_ids": [str(uuid4())]}, ["body/accepted_asset_ids/0"]),
        ({"accepted_asset_ids": [str(TEST_USDC), str(LIVE_USDC)]}, ["body/accepted_asset_ids/1"]),
        ({"accepted_asset_ids": []}, ["body/accepted_asset_ids"]),
        ({"api_url": None}, ["body/api_url"]),
        ({"api_url": None, "publisher_category": "database"}, ["body/publisher_category"]),
        ({"api_url": None, "publisher_category": "compute"}, ["body/publisher_category"]),
        ({"database_config": {"connection_string": "postgresql://u:p@127.0.0.1/d"}},
         ["body/database_config", "body/api_url"]),
        ({"api_url": "ftp://a"}, ["body/api_url"]),
        ({"mcp_endpoint": "http://u:p@127.0.0.1/"}, ["body/mcp_endpoint"]),
        ({"logo_url": "javascript:alert(1)"}, ["body/logo_url"]),
        ({"price_per_call": "0.123", "price_per_get": "-1"}, ["body/price_per_call", "body/price_per_get"]),
        ({"price_per_call": 0.05}, ["body/price_per_call"]),
        ({"price_per_call": "1e3"}, ["body/price_per_call"]),
        ({"price_per_call": "9" * 100}, ["body/price_per_call"]),
        ({"price_per_cal": "1"}, ["body/price_per_cal"]),
        ({"endpoints": [{"method": "GET", "path": "/a", "price": "0.001"}]}, ["body/endpoints/0/price"]),
        ({"endpoints": [{"method": "GET", "path": "/a/{x}"}, {"method": "GET", "path": "/a/{y}"}]},
         ["body/endpoints/1"]),
        ({"endpoints": [{"method": "TRACE", "path": "/a"}]}, ["body/endpoints/0/method"]),
        ({"requires_user_oauth": True}, ["body/oauth_provider_slug"]),
        ({"oauth_provider_slug": "github"}, ["body/oauth_provider_slug"]),
        ({"name": "", "wallet_address": "x", "slug": "UP"}, ["body/name", "body/slug"]),
        ({"wallet_address": "x", "logo_url": "x", "price_per_call": "x", "api_url": "http://"},
         ["body/wallet_address", "body/logo_url", "body/price_per_call", "body/api_url"]),
    ],
)  # fmt: skip
async def test_a_bad_publisher_is_refused(
    client: Client, pool: Pool, body: dict[str, Any], fields: list[str]
) -> None:
    assert sorted(await refused_fields(await client.post(AT, json={**NEW, **body}))) == sorted(fields)
    assert await pool.fetchval("SELECT count(*) FROM publishers") == 0


@pytest.mark.parametrize(
    "path",
    ["", "a", "a/b", "/a?b=1", "/a#b", "/a//b", "/a/", "/../a", "/a/./b", "/a/%2e%2e/b", "/a%2fb", "/a%5cb",
     "/a\\b", "/a b", "/a/{x", "/a/x{y}", "/a/{}", "/é", "/%zz", "/a%00"],
)  # fmt: skip
async def test_a_path_that_could_mean_two_things_is_refused(client: Client, path: str) -> None:
    body = {**NEW, "endpoints": [{"method": "GET", "path": path}]}
    assert await refused_fields(await client.post(AT, json=body)) == ["body/endpoints/0/path"]


async def test_endpoints_are_read_back(client: Client) -> None:
    endpoints: list[dict[str, Any]] = [
        {"method": "GET", "path": "/", "price": "0", "access": "public_anonymous"},
        {"method": "POST", "path": "/v1/chat:complete/{id}", "price": "0.49", "description": "Chat"},
        {"method": "DELETE", "path": "/caf%C3%A9", "is_protected": True, "protection_reason": "No."},
        {"method": "GET", "path": "/q", "query_params": [{"name": "q", "required": True}],
         "example_response": {"a": None}, "required_headers": ["X-A"]},
    ]  # fmt: skip
    publisher = await created(client, {**ONE_ASSET, "endpoints": endpoints})
    for given, shown in zip(endpoints, publisher["endpoints"], strict=True):
        shown["query_params"] = [{"name": "q", "required": True}] if shown["query_params"] else None
        assert shown.items() >= given.items()


async def test_prices_are_integers_of_each_asset(client: Client, pool: Pool) -> None:
    body = {**NEW, "price_per_call": "0.05", "price_per_post": "1", "markup_multiplier": "1.2"}
    publisher = await created(client, body)
    stored = {row["asset_id"]: row["prices"] for row in await pool.fetch("SELECT * FROM publisher_prices")}
    assert stored == {
        TEST_USDC: {"price_per_call": 50_000, "price_per_post": 1_000_000, "markup_multiplier": "1.2"},
        TEST_CENT: {"price_per_call": 5, "price_per_post": 100, "markup_multiplier": "1.2"},
    }
    assert {one["price_per_call"] for one in publisher["pricing"]} == {"0.05"}
    assert publisher["pricing"][0].items() >= {
        "asset_id": str(TEST_USDC), "asset_symbol": "USDC", "price_per_get": None, "min_charge": "0",
        "markup_multiplier": "1.2", "prepaid_enabled": True, "pricing_model": "per_request",
    }.items()  # fmt: skip


async def test_an_earnings_account_is_there_before_the_publisher(
    client: Client, pool: Pool, member: Member
) -> None:
    await created(client, NEW)
    opened = await pool.fetch("SELECT asset_id FROM accounts WHERE owner_id = $1 AND kind = 'earnings'",
                              member.id.organization_id)  # fmt: skip
    assert {row["asset_id"] for row in opened} == {TEST_USDC, TEST_CENT}


@pytest.mark.parametrize("slug", ["weather", "suggest"])
async def test_a_slug_is_one_publishers(client: Client, pool: Pool, slug: str) -> None:
    await created(client, NEW)
    other = await join(pool)
    response = await client.post(AT, json={**NEW, "slug": slug}, headers=other.headers)
    assert (response.status, (await response.json())["code"]) == (409, "publisher-slug-taken")


async def test_a_raced_slug_is_taken_once(client: Client, pool: Pool) -> None:
    answers = await asyncio.gather(*(client.post(AT, json=NEW) for _ in range(8)))
    assert sorted(one.status for one in answers) == [201] + [409] * 7
    assert await pool.fetchval("SELECT count(*) FROM publisher_prices") == 2


async def test_raced_changes_are_all_kept(client: Client, pool: Pool, ports: Ports) -> None:
    publisher = await created(client, NEW)
    changes: list[dict[str, Any]] = [
        {"description": "d"}, {"email": "e@x.example"}, {"price_per_get": "1"}, {"price_per_put": "2"},
        {"upstream_api_key": "k"}, {"api_headers": {"X-A": "v"}}, {"categories": ["c"]}, {"name": "Other"},
    ]  # fmt: skip
    await asyncio.gather(*(changed(client, publisher["id"], one) for one in changes))
    shown = (await (await client.get(f"{AT}/{publisher['id']}")).json())["data"]
    assert shown.items() >= {
        "description": "d", "email": "e@x.example", "categories": ["c"], "name": "Other"
    }.items()  # fmt: skip
    assert (shown["pricing"][0]["price_per_get"], shown["pricing"][0]["price_per_put"]) == ("1", "2")
    assert await unsealed(pool, ports) == {"upstream_api_key": "k", "api_headers": {"X-A": "v"}}


async def test_a_deleted_publisher_is_gone_and_its_slug_free(client: Client, pool: Pool) -> None:
    publisher = await created(client, NEW)
    answers = [await client.delete(f"{AT}/{publisher['id']}") for _ in range(2)]
    assert [one.status for one in answers] == [200, 404]
    for path in [f"{AT}/{publisher['id']}", "/publishers/weather"]:
        assert (await client.get(path)).status == 404
    assert (await (await client.get(AT)).json())["data"] == []
    await created(client, NEW)
    assert await pool.fetchval("SELECT count(*) FROM publishers") == 2


async def test_a_foreign_publisher_is_an_unknown_one(client: Client, pool: Pool) -> None:
    publisher = await created(client, NEW)
    other = await join(pool)
    at = f"{AT}/{publisher['id']}"
    asset = {"asset_id": str(TEST_USDC)}
    answers = [
        await client.get(at, headers=other.headers),
        await client.put(at, json={"name": "Mine"}, headers=other.headers),
        await client.put(f"{at}/pricing", json=asset, headers=other.headers),
        await client.delete(at, headers=other.headers),
    ]
    assert [one.status for one in answers] == [404] * 4
    assert (await (await client.get(at)).json())["data"] == publisher


async def test_what_is_not_sent_stays(client: Client, pool: Pool, ports: Ports) -> None:
    body = {**ONE_ASSET, **GIVEN, "upstream_api_key": "old", "api_headers": {"X-More": "kept"},
            "price_per_call": "0.05", "price_per_get": "0.01"}  # fmt: skip
    before = await created(client, body)
    after = await changed(
        client, before["id"], {"name": "Climate", "description": None, "price_per_get": None}
    )
    assert after == {**before, "name": "Climate", "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    await changed(client, before["id"], {"upstream_api_key": "new"})
    sealed = await unsealed(pool, ports)
    assert sealed == {"upstream_api_key": "new", "api_headers": {"X-More": "kept"}, "api_key_header": "X-Key"}


async def test_empty_values_take_away(client: Client, pool: Pool) -> None:
    given = {**ONE_ASSET, **GIVEN, "upstream_api_key": "old", "price_per_call": "0.05", "price_per_get": "1"}
    before = await created(client, given)
    away = {"description": "", "capabilities": [], "upstream_headers": {}, "endpoints": [],
            "price_per_get": "", "upstream_api_key": "", "api_key_header": "",
            "mcp_endpoint": ""}  # fmt: skip
    after = await changed(client, before["id"], away)
    assert after.items() >= {
        "description": None, "capabilities": [], "upstream_headers": {}, "mcp_endpoint": None,
        "api_key_header": None, "use_cases": ["Plan a picnic"],
    }.items()  # fmt: skip
    assert after["pricing"][0]["price_per_get"] is None
    assert after["pricing"][0]["price_per_call"] == "0.05"
    assert await pool.fetchval("SELECT auth_sealed FROM publishers") is None


async def test_another_mode_forgets_the_old_ones_secrets(client: Client, pool: Pool, ports: Ports) -> None:
    publisher = await created(client, {**NEW, "upstream_api_key": "old", "api_key_header": "X-Key"})
    change = {"auth_type": "jwt", "jwt_access_key": "ak", "jwt_secret_key": "s" * 32}
    after = await changed(client, publisher["id"], change)
    assert (after["auth_type"], after["api_key_header"]) == ("jwt", None)
    assert "upstream_api_key" not in await unsealed(pool, ports)
    refused = await client.put(f"{AT}/{publisher['id']}", json={"auth_type": "oauth2_cc"})
    assert "body/oauth2_client_id" in await refused_fields(refused)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"api_url": ""}, ["body/api_url"]),
        ({"slug": "other"}, ["body/slug"]),
        ({"wallet_address": "x"}, ["body/wallet_address"]),
        ({"wallet_network_id": "eip155:1"}, ["body/wallet_network_id"]),
        ({"wallet_network_id": "eip155:8453"}, ["body/wallet_network_id"]),   # live, and its assets are not
        ({"add_asset_ids": [str(TEST_CENT)]}, ["body/add_asset_ids"]),        # the price is too fine
        ({"add_asset_ids": [str(uuid4())]}, ["body/add_asset_ids/0"]),
        ({"remove_asset_ids": [str(TEST_CENT)]}, ["body/remove_asset_ids/0"]),
        ({"remove_asset_ids": [str(TEST_USDC)]}, ["body/remove_asset_ids"]),
        ({"price_per_call": "0.0000001"}, ["body/price_per_call"]),
        ({"oauth_provider_id": str(uuid4())}, ["body/oauth_provider_id"]),
        ({"jwt_secret_key": "s" * 32}, ["body/jwt_secret_key"]),
    ],
)  # fmt: skip
async def test_a_bad_change_changes_nothing(client: Client, body: dict[str, Any], fields: list[str]) -> None:
    publisher = await created(client, {**ONE_ASSET, "price_per_call": "0.001"})
    response = await client.put(f"{AT}/{publisher['id']}", json={"name": "Other", **body})
    assert await refused_fields(response) == fields
    assert (await (await client.get(f"{AT}/{publisher['id']}")).json())["data"] == publisher


async def test_an_added_asset_starts_with_the_first_ones_prices(client: Client, pool: Pool) -> None:
    publisher = await created(client, {**ONE_ASSET, "price_per_call": "0.05"})
    after = await changed(client, publisher["id"], {"add_asset_ids": [str(TEST_CENT)]})
    assert [one["price_per_call"] for one in after["pricing"]] == ["0.05", "0.05"]
    assert await pool.fetchval("SELECT prices FROM publisher_prices WHERE asset_id = $1", TEST_CENT) == {
        "price_per_call": 5
    }
    last = await changed(client, publisher["id"], {"remove_asset_ids": [str(TEST_USDC)]})
    assert [one["id"] for one in last["accepted_assets"]] == [str(TEST_CENT)]


async def test_pricing_changes_one_asset(client: Client) -> None:
    publisher = await created(client, {**NEW, "price_per_call": "0.05", "price_per_get": "0.01"})
    change = {
        "asset_id": str(TEST_USDC), "price_per_call": "0.0123", "price_per_get": "", "min_charge": "0.001",
        "max_charge": "5", "min_display_price": "0.01", "pricing_display_text": "It varies",
        "payment_expiry_minutes": 10, "max_queries_per_minute": 60, "grace_period_minutes": 3,
        "pricing_model": "per_byte", "prepaid_enabled": False, "onchain_enabled": None,
        "token_response_field": "token",
    }  # fmt: skip
    response = await client.put(f"{AT}/{publisher['id']}/pricing", json=change)
    assert response.status == 200
    pricing = (await response.json())["data"]
    assert pricing.items() >= {
        "price_per_call": "0.0123", "price_per_get": None, "min_charge": "0.001", "max_charge": "5",
        "min_display_price": "0.01", "pricing_display_text": "It varies", "payment_expiry_minutes": 10,
        "max_queries_per_minute": 60, "grace_period_minutes": 3, "pricing_model": "per_byte",
        "prepaid_enabled": False, "onchain_enabled": True,
    }.items()  # fmt: skip
    shown = (await (await client.get(f"{AT}/{publisher['id']}")).json())["data"]
    assert shown["pricing"] == [pricing, publisher["pricing"][1]]
    assert shown["token_response_field"] == "token"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["body/asset_id"]),
        ({"asset_id": str(LIVE_USDC)}, ["body/asset_id"]),
        ({"asset_id": str(TEST_CENT), "price_per_call": "0.001"}, ["body/price_per_call"]),
        ({"asset_id": str(TEST_USDC), "min_charge": "2", "max_charge": "1"}, ["body/max_charge"]),
        ({"asset_id": str(TEST_USDC), "token_exchange_url": "ftp://a"}, ["body/token_exchange_url"]),
    ],
)
async def test_bad_pricing_is_refused(client: Client, body: dict[str, Any], fields: list[str]) -> None:
    publisher = await created(client, NEW)
    response = await client.put(f"{AT}/{publisher['id']}/pricing", json=body)
    assert await refused_fields(response) == fields


async def test_every_url_passes_the_guard(
    pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient
) -> None:
    guarded = replace(ports, guard=Guard(is_private_allowed=False))
    client = await aiohttp_client(app.create(pool, guarded), headers=member.headers)
    inside = "http://127.0.0.1:9/"
    names = ["api_url", "mcp_endpoint", "a2a_endpoint_url", "token_exchange_url"]
    body = {**NEW, **dict.fromkeys(names, inside)}
    assert await refused_fields(await client.post(AT, json=body)) == [f"body/{name}" for name in names]
    oauth = {"auth_type": "oauth2_cc", "oauth2_token_url": inside, "oauth2_client_id": "c",
             "oauth2_client_secret": "s", "api_url": "https://1.1.1.1/"}  # fmt: skip
    assert await refused_fields(await client.post(AT, json={**NEW, **oauth})) == ["body/oauth2_token_url"]


async def test_reseal_moves_to_the_newest_key(client: Client, pool: Pool, ports: Ports) -> None:
    for slug, key in [("a1", "one"), ("a2", "two"), ("a3", None)]:
        await created(client, {**NEW, "slug": slug, "upstream_api_key": key})
    older, newer = crypto.new_key("older"), crypto.new_key("newer")
    old = Keyring.parse([older])
    for row in await pool.fetch("SELECT * FROM publishers WHERE auth_sealed IS NOT NULL"):
        context = crypto.context(row["organization_id"], row["id"])
        sealed = old.seal(ports.keyring.open(row["auth_sealed"], context), context)
        await pool.execute("UPDATE publishers SET auth_sealed = $2 WHERE id = $1", row["id"], sealed)
    both = Keyring.parse([newer, older])
    assert await jobs.reseal(pool, both) == 2
    assert await jobs.reseal(pool, both) == 0
    only = Keyring.parse([newer])
    opened = [
        json.loads(only.open(row["auth_sealed"], crypto.context(row["organization_id"], row["id"])))
        for row in await pool.fetch("SELECT * FROM publishers WHERE auth_sealed IS NOT NULL ORDER BY slug")
    ]
    assert opened == [{"upstream_api_key": "one"}, {"upstream_api_key": "two"}]


async def test_the_store_shows_active_publishers_to_anyone(
    client: Client, stranger: Client, pool: Pool
) -> None:
    for number, category in enumerate(["integration", "database", "compute"]):
        await created(
            client, {**NEW, "slug": f"p{number}", "name": f"Thing {number}", "publisher_category": category}
        )
    await created(client, {**NEW, "slug": "hidden"})
    await pool.execute("UPDATE publishers SET is_active = false WHERE slug = 'hidden'")
    await pool.execute("UPDATE publishers SET is_verified = true WHERE slug = 'p1'")
    for query, slugs in [
        ("", ["p1", "p0", "p2"]),                    # verified ones first
        ("?limit=2", ["p1", "p0"]),
        ("?limit=2&offset=2", ["p2"]),
        ("?category=database", ["p1"]),
        ("?is_verified=false", ["p0", "p2"]),
        ("?search=THING%202", ["p2"]),
        ("?search=%25", []),                         # no wildcard
    ]:  # fmt: skip
        listed = await (await stranger.get(f"/publishers{query}")).json()
        assert [one["slug"] for one in listed["data"]] == slugs, query
    assert (await stranger.get("/publishers/hidden")).status == 404
    for query in ["limit=101", "limit=0", "category=shop", "search=", "offset=-1", "is_verified=maybe"]:
        assert (await stranger.get(f"/publishers?{query}")).status == 400, query


async def test_the_store_does_not_tell_where_an_upstream_is(client: Client, stranger: Client) -> None:
    await created(client, {**NEW, **GIVEN})
    for path in ["/publishers", "/publishers/weather"]:
        text = await (await stranger.get(path)).text()
        assert "127.0.0.1" not in text
        assert "X-Key" not in text
        assert "Forecasts" in text


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("scrape a website", ["scraper", "browser"]),
        ("website", ["browser", "scraper"]),
        ("please", []),
        ("%", []),
    ],
)
async def test_suggestions_are_ranked_by_their_words(
    client: Client, stranger: Client, query: str, slugs: list[str]
) -> None:
    scraper: dict[str, Any] = {
        "slug": "scraper",
        "capabilities": ["web_scraping"],
        "description": "Gets any website",
    }
    browser = {"slug": "browser", "name": "Website browser", "price_per_call": "0.05"}
    for one in [scraper, browser, {"slug": "weather"}]:
        await created(client, {**NEW, **one})
    found = (await (await stranger.get("/publishers/suggest", params={"query": query})).json())["data"]
    assert [one["slug"] for one in found["publishers"]] == slugs
    assert found["agents"] == []
    for one in found["publishers"]:
        assert 0 < one["score"] <= 1
        assert one["match_reason"].startswith("Matches ")
    if "browser" in slugs:
        (priced,) = [one["pricing"] for one in found["publishers"] if one["slug"] == "browser"]
        assert priced["price_per_call"] == "0.05"


async def test_suggestions_are_limited(client: Client, stranger: Client) -> None:
    for number in range(3):
        await created(client, {**NEW, "slug": f"p{number}"})
    for query, count in [("query=weather&limit=2", 2), ("query=weather&type=agent", 0)]:
        found = await (await stranger.get(f"/publishers/suggest?{query}")).json()
        assert len(found["data"]["publishers"]) == count
    for query in ["", "query=", "query=a&limit=21", "query=a&type=robot"]:
        assert (await stranger.get(f"/publishers/suggest?{query}")).status == 400


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("Scraping, scrapers & SCRAPES!", ["scrap"]),
        ("give me the weather in Zürich", ["weath", "zürich"]),
        ("web_scraping", ["web", "scrap"]),
        ("gas", ["gas"]),
    ],
)
def test_stems_are_what_words_share(text: str, stems: list[str]) -> None:
    assert suggest.stems(text) == stems


async def test_statistics_count_the_publishers_calls(client: Client, pool: Pool, member: Member) -> None:
    publisher = await created(client, NEW)
    for organization_id, payer, cost in [
        (member.id.organization_id, None, 5),
        (member.id.organization_id, None, 7),
        (None, "0x" + "77" * 20, 11),
    ]:
        await pool.execute(
            "INSERT INTO usage_events (call_id, publisher_id, organization_id, payer, rail, method, path,"
            " outcome, asset_id, cost) VALUES ($1, $2, $3, $4, 'prepaid', 'GET', '/', 'charged', $5, $6)",
            uuid4(), UUID(publisher["id"]), organization_id, payer, TEST_USDC, cost,
        )  # fmt: skip
    shown = (await (await client.get("/publishers/weather")).json())["data"]
    assert shown.items() >= {
        "total_queries": 3, "unique_agents_served": 2, "total_revenue_atomic": 23
    }.items()  # fmt: skip
