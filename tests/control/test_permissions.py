import asyncio
from typing import Any

import pytest

from control.api.permissions import CATALOGUE, GRANTS, id_of
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer
from tests.control.test_members import colleague, role_at

ROLES = "/organizations/default/roles"
ACCOUNTANT = {"name": "accountant", "permissions": ["wallet.read", "members.read"]}


async def create(client: Client, body: dict[str, Any] = ACCOUNTANT) -> dict[str, Any]:
    response = await client.post(ROLES, json=body)
    made: dict[str, Any] = (await response.json())["data"]
    assert response.status == 201, made
    return made


async def test_the_catalogue_is_shown(client: Client) -> None:
    listed = await (await client.get("/permissions")).json()
    assert {one["name"]: one["description"] for one in listed} == CATALOGUE


async def test_what_one_may_is_told(client: Client, pool: Pool, member: Member) -> None:
    at = "/organizations/default/permissions"
    assert await (await client.get(f"{at}/mine")).json() == sorted(GRANTS["owner"])
    narrow = await bearer(pool, member.id, ["wallet.read"])
    assert await (await client.get(f"{at}/mine", headers=narrow)).json() == [
        "permissions.read",
        "wallet.read",
    ]
    for permission, may in [("wallet.read", True), ("wallet.spend", False), ("no.such", False)]:
        answer = await client.get(f"{at}/check/{permission}", headers=narrow)
        assert (await answer.json())["data"] is may


async def test_built_in_roles_are_listed_first_and_stay(client: Client) -> None:
    await create(client)
    listed = (await (await client.get(ROLES)).json())["data"]
    assert [one["name"] for one in listed] == ["owner", "admin", "editor", "viewer", "accountant"]
    at = f"{ROLES}/{id_of('editor')}"
    assert (await (await client.get(at)).json())["data"]["permissions"] == sorted(GRANTS["editor"])
    for refused in (await client.patch(at, json={"name": "x"}), await client.delete(at)):
        assert (refused.status, (await refused.json())["code"]) == (400, "role-built-in")


async def test_a_custom_role_is_made_given_changed_and_deleted(
    client: Client, pool: Pool, member: Member
) -> None:
    role = await create(client)
    who, headers = await colleague(pool, member, "viewer")
    assert (await client.get("/organizations/default/publishers", headers=headers)).status == 200
    assert (await client.put(role_at(who.user_id), json={"role_name": "Accountant"})).status == 200
    assert (await client.get("/organizations/default/publishers", headers=headers)).status == 403
    assert (await client.get("/wallet/balance", headers=headers)).status == 200

    at = f"{ROLES}/{role['id']}"
    in_use = await client.delete(at)
    assert (in_use.status, (await in_use.json())["code"]) == (409, "role-in-use")
    changed = await client.patch(at, json={"permissions": ["publishers.read"], "description": "Looks."})
    assert (await changed.json())["data"]["name"] == "accountant"
    assert (await client.get("/organizations/default/publishers", headers=headers)).status == 200
    assert (await client.get("/wallet/balance", headers=headers)).status == 403

    await client.put(role_at(who.user_id), json={"role_name": "viewer"})
    assert (await client.delete(at)).status == 204
    assert (await client.get(at)).status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"name": "owner", "permissions": ["wallet.read"]},
        {"name": "Owner", "permissions": ["wallet.read"]},
        {"name": "ACCOUNTANT", "permissions": ["wallet.read"]},   # taken
        {"name": "x", "permissions": ["no.such"]},
        {"name": "x", "permissions": []},
        {"name": "x", "permissions": ["platform.operate"]},
        {"permissions": ["wallet.read"]},
    ],
)  # fmt: skip
async def test_a_role_that_cannot_be_is_400(client: Client, body: dict[str, Any]) -> None:
    await create(client)
    assert (await client.post(ROLES, json=body)).status == 400


async def test_nobody_makes_a_role_of_what_they_lack(client: Client, pool: Pool, member: Member) -> None:
    role = await create(client, {"name": "strong", "permissions": ["organizations.delete"]})
    _, admin = await colleague(pool, member, "admin")
    body = {"name": "mine", "permissions": ["organizations.delete"]}
    assert (await client.post(ROLES, json=body, headers=admin)).status == 403
    at = f"{ROLES}/{role['id']}"
    assert (await client.patch(at, json={"permissions": ["wallet.read"]}, headers=admin)).status == 403
    assert (await client.patch(at, json={"name": "renamed"}, headers=admin)).status == 200


async def test_a_role_is_not_deleted_while_it_is_given(client: Client, pool: Pool, member: Member) -> None:
    who, _ = await colleague(pool, member, "viewer")
    for number in range(5):
        role = await create(client, {"name": f"r{number}", "permissions": ["wallet.read"]})
        given, deleted = await asyncio.gather(
            client.put(role_at(who.user_id), json={"role_id": role["id"]}),
            client.delete(f"{ROLES}/{role['id']}"),
        )
        # One of them comes first, and the other is told.
        assert (given.status, deleted.status) in {(200, 409), (404, 204)}
