"""Who may ask for what; that payments settle, ``tests/paths/test_facilitator_for_others.py`` tells."""

from typing import Any

import pytest

from tests.control.conftest import Client

ASKED: dict[str, Any] = {"x402Version": 2, "paymentPayload": {}, "paymentRequirements": {}}


@pytest.mark.parametrize("path", ["verify", "settle"])
async def test_it_takes_a_key_with_the_permission(client: Client, stranger: Client, path: str) -> None:
    assert (await stranger.post(f"/facilitator/{path}", json=ASKED)).status == 401
    narrow = {"name": "reader", "scopes": ["publishers.read"]}
    made = await (await client.post("/organizations/default/api-keys", json=narrow)).json()
    headers = {"Authorization": f"Bearer {made['data']['api_key']}"}
    refused = await stranger.post(f"/facilitator/{path}", json=ASKED, headers=headers)
    assert (refused.status, (await refused.json())["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "change",
    [{"x402Version": 3}, {"x402Version": "2"}, {"paymentPayload": []}, {"paymentRequirements": None}],
)
async def test_a_request_has_its_three_members(client: Client, change: dict[str, Any]) -> None:
    for path in ("verify", "settle"):
        refused = await client.post(f"/facilitator/{path}", json={**ASKED, **change})
        assert refused.status == 400


async def test_what_it_settles_is_listed_for_anyone(stranger: Client) -> None:
    there = await (await stranger.get("/facilitator/supported")).json()
    here = await (await stranger.get("/payments/supported")).json()
    assert there == here
