"""Prices below what is worth settling on chain are refused where they are published."""

from typing import Any

import pytest

from control.api.ports import Ports
from tests.control.conftest import NETWORKS, TEST_USDC, Client, ports_with

AT = "/organizations/default/publishers"
NEW: dict[str, Any] = {
    "name": "Weather", "slug": "weather", "publisher_category": "integration", "api_url": "http://127.0.0.1:9",
    "wallet_address": "0x" + "b0" * 20, "wallet_network_id": "eip155:84532",
    "accepted_asset_ids": [str(TEST_USDC)],
}  # fmt: skip


@pytest.fixture
def ports() -> Ports:
    test: Any
    test, live = NETWORKS
    [usdc, *others] = test["assets"]
    return ports_with([{**test, "assets": [{**usdc, "price_min": "0.001"}, *others]}, live])


@pytest.mark.parametrize(
    ("prices", "blamed"),
    [
        ({"price_per_call": "0.000999"}, ["body/price_per_call"]),
        ({"price_per_call": "0.001", "price_per_post": "0.0001"}, ["body/price_per_post"]),
        ({"price_per_call": "0.001", "endpoints": [{"method": "GET", "path": "/a", "price": "0.0005"}]},
         ["body/endpoints/0/price"]),
        ({"price_per_call": "0.0005", "markup_multiplier": "1.9"}, ["body/price_per_call"]),
        # What is charged is what has to be worth it, and what is free takes no transaction.
        ({"price_per_call": "0.0005", "markup_multiplier": "2"}, []),
        ({"price_per_call": "0"}, []),
        ({"price_per_call": "0.001", "endpoints": [{"method": "GET", "path": "/a", "price": "0"}]}, []),
        ({}, []),
    ],
)  # fmt: skip
async def test_a_price_is_free_or_worth_its_gas(
    client: Client, prices: dict[str, Any], blamed: list[str]
) -> None:
    response = await client.post(AT, json={**NEW, **prices})
    answer = await response.json()
    assert response.status == (400 if blamed else 201)
    assert [one["pointer"] for one in answer.get("errors", [])] == blamed
    if blamed:
        assert "0.001 USDC" in answer["errors"][0]["detail"]


async def test_smaller_prices_are_for_balances(client: Client) -> None:
    made = (await (await client.post(AT, json={**NEW, "price_per_call": "0.001"})).json())["data"]
    at = f"{AT}/{made['id']}"
    small = {"asset_id": str(TEST_USDC), "price_per_call": "0.0001"}
    assert (await client.put(f"{at}/pricing", json=small)).status == 400
    assert (await client.put(f"{at}/pricing", json={**small, "onchain_enabled": False})).status == 200
    assert (await client.put(at, json={"description": "touches no price"})).status == 200
    assert (await client.put(at, json={"price_per_get": "0.0002"})).status == 200
    again = await client.put(f"{at}/pricing", json={"asset_id": str(TEST_USDC), "onchain_enabled": True})
    blamed = [one["pointer"] for one in (await again.json())["errors"]]
    assert (again.status, blamed) == (400, ["body/price_per_call", "body/price_per_get"])
