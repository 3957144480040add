from typing import Any

import pytest
from eth_account import Account
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.payments import rules
from gateway.kit.sql import Pool
from tests.control.conftest import FACILITATOR_KEY, USDC, Client, ports_with
from tests.control.test_publishers import AT, NEW, created


async def test_supported_kinds_are_those_of_the_settings(stranger: Client) -> None:
    supported = await (await stranger.get("/payments/supported")).json()
    kinds = [(one["x402Version"], one["scheme"], one["network"]) for one in supported["kinds"]]
    assert kinds == [
        (2, "exact", "eip155:84532"),
        (1, "exact", "base-sepolia"),
        (2, "exact", "eip155:8453"),
        (1, "exact", "base"),
    ]
    assert supported["kinds"][0]["extra"]["assets"][0] == {
        "asset": USDC, "symbol": "USDC", "name": "USDC", "version": "2", "decimals": 6
    }  # fmt: skip
    assert supported["signers"] == {"eip155:*": [Account.from_key(FACILITATOR_KEY).address]}
    assert FACILITATOR_KEY.removeprefix("0x") not in str(supported)


async def test_without_networks_nothing_is_supported(pool: Pool, aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(app.create(pool, ports_with([])))
    supported = await (await client.get("/payments/supported")).json()
    assert supported == {"kinds": [], "extensions": [], "signers": {}}


async def test_priced_urls_of_active_publishers_are_listed(
    client: Client, stranger: Client, pool: Pool
) -> None:
    endpoints = [
        {"method": "GET", "path": "/today", "price": "0.05"},
        {"method": "GET", "path": "/free", "price": "0"},
        {"method": "GET", "path": "/day/{day}", "price": "1"},
        {"method": "GET", "path": "/closed", "price": "1", "is_protected": True},
        {"method": "POST", "path": "/today", "price": "1"},
    ]
    await created(client, {**NEW, "endpoints": endpoints})
    await created(client, {**NEW, "slug": "plain", "price_per_call": "1"})
    await created(client, {**NEW, "slug": "gratis"})
    away = await created(client, {**NEW, "slug": "away", "price_per_call": "1"})
    await client.put(f"{AT}/{away['id']}", json={"is_active": False})
    assert await (await stranger.get("/.well-known/x402")).json() == {
        "version": 1,
        "resources": [
            "https://gateway.example/publishers/weather/today",
            "https://gateway.example/publishers/plain",
        ],
        "catalog": "https://gateway.example/publishers",
    }


@pytest.mark.parametrize(
    ("endpoint", "prices", "costs"),
    [
        ({"method": "GET"}, {}, False),
        ({"method": "GET"}, {"price_per_call": 5}, True),
        ({"method": "GET"}, {"price_per_call": 5, "price_per_get": 0}, False),
        ({"method": "GET"}, {"price_per_post": 5}, False),
        ({"method": "GET", "price": "0"}, {"price_per_call": 5}, False),
        ({"method": "GET", "price": "0.000"}, {"price_per_call": 5}, False),
        ({"method": "GET", "price": "0.01"}, {"price_per_call": 0}, True),
    ],
)
def test_an_endpoint_costs_what_its_nearest_price_says(
    endpoint: dict[str, Any], prices: dict[str, Any], *, costs: bool
) -> None:
    assert rules.costs(endpoint, prices) is costs
