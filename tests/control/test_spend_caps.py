"""Caps of API keys as the management API has them; what they stop is in tests/gateway and tests/paths."""

from typing import Any
from uuid import uuid4

import pytest

from gateway.kit.sql import Pool
from gateway.ledger import caps
from gateway.ledger.caps import Caps
from tests.control.conftest import Client, Member, bearer, refused_fields

DEFAULT = "/organizations/default/api-keys"
ALL = {"per_call": "0.05", "per_day": "1", "total": "10"}


async def made(client: Client, **more: Any) -> dict[str, Any]:
    response = await client.post(DEFAULT, json={"name": "a", **more})
    assert response.status == 201, await response.text()
    data: dict[str, Any] = (await response.json())["data"]
    return data


def at(key: dict[str, Any]) -> str:
    return f"{DEFAULT}/{key['id']}/spend-caps"


async def test_a_key_is_made_with_caps_and_listed_with_them(client: Client) -> None:
    key = await made(client, spend_caps=ALL)
    assert key["spend_caps"].pop("resets_at").endswith("T00:00:00Z")
    assert key["spend_caps"] == {**ALL, "spent_today": "0", "spent_total": "0"}
    listed = (await (await client.get(DEFAULT)).json())["data"]
    assert listed[1]["spend_caps"]["per_day"] == "1"
    # A key without caps says so by saying nothing.
    assert listed[0]["spend_caps"] is None


async def test_caps_change_one_by_one(client: Client) -> None:
    key = await made(client, spend_caps={"per_day": "1"})
    for sent, then in [
        ({"total": "5"}, (None, "1", "5")),
        ({"per_day": None, "total": "6.000001"}, (None, "1", "6.000001")),  # null is not sent
        ({"per_day": "", "per_call": "0"}, ("0", None, "6.000001")),
        ({"total": "", "per_call": ""}, (None, None, None)),
    ]:
        response = await client.patch(at(key), json=sent)
        data = (await response.json())["data"]
        assert (data["per_call"], data["per_day"], data["total"]) == then


@pytest.mark.parametrize(
    ("caps", "fields"),
    [
        ({"per_day": "-1"}, ["per_day"]),
        ({"per_day": "0.0000001", "total": "1e3"}, ["per_day", "total"]),
        ({"per_month": "1"}, ["per_month"]),
        ({"per_day": 1}, ["per_day"]),
        ({"total": "9" * 33}, ["total"]),
    ],
)
async def test_bad_caps_are_refused(client: Client, caps: object, fields: list[str]) -> None:
    response = await client.post(DEFAULT, json={"name": "a", "spend_caps": caps})
    assert await refused_fields(response) == [f"body/spend_caps/{one}" for one in fields]
    response = await client.patch(at(await made(client)), json=caps)
    assert await refused_fields(response) == [f"body/{one}" for one in fields]


async def test_an_unknown_a_foreign_and_a_revoked_key_have_no_caps(
    client: Client, pool: Pool, member: Member
) -> None:
    gone = await made(client)
    await client.delete(f"{DEFAULT}/{gone['id']}")
    for key in (gone, {"id": str(uuid4())}):
        assert (await client.patch(at(key), json={"total": "1"})).status == 404
    assert await pool.fetchval("SELECT count(*) FROM key_caps") == 0


async def test_a_capped_key_lowers_caps_and_nothing_else(client: Client, pool: Pool, member: Member) -> None:
    own = await made(client, spend_caps={"per_day": "1", "total": "10"})
    other = await made(client, spend_caps={"per_day": "5"})
    headers = {"Authorization": f"Bearer {own['api_key']}"}
    for key, sent, status in [
        (own, {"per_day": "0.5"}, 200),
        (own, {"per_call": "0.1"}, 200),
        (own, {"per_day": "0.6"}, 403),
        (own, {"total": ""}, 403),
        (own, {"per_call": "0.05", "total": "11"}, 403),
        (other, {"per_day": "6"}, 403),
        (other, {"per_day": "4"}, 200),
    ]:
        response = await client.patch(at(key), json=sent, headers=headers)
        assert response.status == status, sent
    # Nor does it make a key that spends in its stead.
    for scopes, status in [(None, 403), (["wallet.spend"], 403), (["wallet.read"], 201)]:
        asked = {"name": "b", "scopes": scopes, "spend_caps": {"per_day": "0.1"}}
        response = await client.post(DEFAULT, json=asked, headers=headers)
        assert response.status == status, scopes
    # The key that made it raises its caps.
    assert (await client.patch(at(own), json={"per_day": "2"})).status == 200


async def test_only_who_may_make_keys_changes_caps(client: Client, pool: Pool, member: Member) -> None:
    key = await made(client)
    reader = await bearer(pool, member.id, ["api_keys.read", "wallet.spend"])
    assert (await client.patch(at(key), json={"total": "1"}, headers=reader)).status == 403


@pytest.mark.parametrize(
    ("limits", "other", "is_allowed"),
    [
        (Caps(), Caps(1, 1, 1), True),
        (Caps(1, 1, 1), Caps(), False),
        (Caps(per_day=5), Caps(per_day=5), True),
        (Caps(per_day=5), Caps(per_day=6), False),
        (Caps(per_day=5), Caps(per_call=1), False),
        (Caps(per_day=5), Caps(per_call=1, per_day=0), True),
    ],
)
def test_looser_caps_are_recognised(limits: Caps, other: Caps, is_allowed: bool) -> None:
    assert limits.allows(other) is is_allowed


async def test_gateways_hear_of_changed_caps_and_not_of_spending(client: Client, pool: Pool) -> None:
    key = await made(client, spend_caps={"total": "1"})
    version = await pool.fetchval("SELECT version FROM change_version")
    await pool.execute("UPDATE key_caps SET spent_total = 5")
    assert await pool.fetchval("SELECT version FROM change_version") == version
    await caps.put(pool, key["id"], Caps(total=2))
    assert await pool.fetchval("SELECT version FROM change_version") == version + 1
