import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from control.api.permissions import id_of
from control.identity import people
from control.identity.people import Newcomer
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join


async def colleague(pool: Pool, member: Member, role: str) -> tuple[Newcomer, dict[str, str]]:
    """Somebody else in the member's organization, with a key there."""
    who = await people.create(pool, "agent", role, None)
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, $3)",
        member.id.organization_id,
        who.user_id,
        role,
    )
    here = Newcomer(who.user_id, member.id.organization_id, who.created_at)
    return here, await bearer(pool, here)


def role_at(who: UUID) -> str:
    return f"/organizations/default/members/{who}/role"


async def roles(client: Client) -> dict[str, str]:
    listed = (await (await client.get("/organizations/default/members")).json())["data"]
    return {one["user_id"]: one["role"] for one in listed}


async def test_members_are_listed_with_their_roles(client: Client, pool: Pool, member: Member) -> None:
    who, _ = await colleague(pool, member, "viewer")
    assert await roles(client) == {str(member.id.user_id): "owner", str(who.user_id): "viewer"}


@pytest.mark.parametrize(
    ("body", "role"),
    [
        ({"role_name": "editor"}, "editor"),
        ({"role_id": str(id_of("admin"))}, "admin"),
        ({"role_name": "owner"}, "owner"),
    ],
)
async def test_a_role_is_given_by_name_or_id(
    client: Client, pool: Pool, member: Member, body: dict[str, str], role: str
) -> None:
    who, _ = await colleague(pool, member, "viewer")
    answered = await client.put(role_at(who.user_id), json=body)
    assert (answered.status, await answered.read()) == (200, b"")
    assert (await roles(client))[str(who.user_id)] == role


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"role_name": "viewer", "role_id": str(id_of("viewer"))}, 400),
        ({"role_name": "emperor"}, 404),
        ({"role_id": str(uuid4())}, 404),
    ],
)
async def test_a_role_that_is_none_is_refused(
    client: Client, pool: Pool, member: Member, body: dict[str, str], status: int
) -> None:
    who, _ = await colleague(pool, member, "viewer")
    assert (await client.put(role_at(who.user_id), json=body)).status == status


async def test_nobody_gives_or_takes_what_they_lack(client: Client, pool: Pool, member: Member) -> None:
    admin, headers = await colleague(pool, member, "admin")
    viewer, _ = await colleague(pool, member, "viewer")
    for who, role in [(viewer, "owner"), (admin, "owner"), (member.id, "viewer")]:
        refused = await client.put(role_at(who.user_id), json={"role_name": role}, headers=headers)
        assert (refused.status, (await refused.json())["code"]) == (403, "permission-not-held")
    at = f"/organizations/default/members/{member.id.user_id}"
    assert (await client.delete(at, headers=headers)).status == 403
    assert (await client.put(role_at(viewer.user_id), json={"role_name": "editor"}, headers=headers)).ok


async def test_the_last_owner_stays(client: Client, member: Member) -> None:
    demoted = await client.put(role_at(member.id.user_id), json={"role_name": "viewer"})
    left = await client.delete("/organizations/default/members/me")
    removed = await client.delete(f"/organizations/default/members/{member.id.user_id}")
    for refused in (demoted, left, removed):
        assert (refused.status, (await refused.json())["code"]) == (409, "last-owner")
    v1 = f"/v1/orgs/{member.organization_id}/members/{member.id.user_id.hex}"
    changed = await client.patch(v1, json={"role": "viewer"})
    assert (changed.status, (await changed.json())["code"]) == (400, "cannot_change_role")
    gone = await client.delete(v1)
    assert (gone.status, (await gone.json())["code"]) == (400, "cannot_remove_member")


@pytest.mark.parametrize("attempt", range(5))
async def test_two_owners_cannot_demote_each_other_at_once(
    client: Client, pool: Pool, member: Member, attempt: int
) -> None:
    other, headers = await colleague(pool, member, "owner")

    async def demote(who: UUID, by: dict[str, str]) -> Any:
        return await client.put(role_at(who), json={"role_name": "viewer"}, headers=by)

    async def leave(by: dict[str, str]) -> Any:
        return await client.delete("/organizations/default/members/me", headers=by)

    await asyncio.gather(
        demote(other.user_id, member.headers),
        demote(member.id.user_id, headers),
        leave(member.headers),
        leave(headers),
    )
    owners = await pool.fetchval(
        "SELECT count(*) FROM members WHERE organization_id = $1 AND role = 'owner'",
        member.id.organization_id,
    )
    assert owners == 1


async def test_who_leaves_leaves_their_keys_dead_for_good(client: Client, pool: Pool, member: Member) -> None:
    who, headers = await colleague(pool, member, "viewer")
    assert (await client.delete("/organizations/default/members/me", headers=headers)).status == 204
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'viewer')",
        member.id.organization_id,
        who.user_id,
    )
    assert (await client.get("/organizations/default/members", headers=headers)).status == 401


async def test_a_removed_member_is_gone(client: Client, pool: Pool, member: Member) -> None:
    who, headers = await colleague(pool, member, "editor")
    assert (await client.delete(f"/organizations/default/members/{who.user_id}")).status == 204
    assert (await client.get("/organizations/default/members", headers=headers)).status == 401
    assert (await client.delete(f"/organizations/default/members/{who.user_id}")).status == 404


async def test_both_spellings_name_the_same_member(client: Client, pool: Pool, member: Member) -> None:
    who, _ = await colleague(pool, member, "viewer")
    orgs = (await (await client.get("/v1/me/orgs")).json())["orgs"]
    assert orgs[0]["id"].startswith("org_01")
    listed = (await (await client.get(f"/v1/orgs/{orgs[0]['id']}/members")).json())["members"]
    assert {one["userId"]: one["role"] for one in listed}[who.user_id.hex] == "viewer"
    changed = await client.patch(
        f"/v1/orgs/{orgs[0]['id']}/members/{who.user_id.hex}", json={"role": "developer"}
    )
    assert (await changed.json()) == {"ok": True, "role": "developer"}
    assert (await roles(client))[str(who.user_id)] == "editor"


async def test_strangers_are_no_members(client: Client, pool: Pool) -> None:
    other = await join(pool)
    assert (await client.put(role_at(other.id.user_id), json={"role_name": "viewer"})).status == 404
