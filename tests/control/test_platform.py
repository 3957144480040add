"""What the operator can stop, and who is the operator."""

from uuid import UUID, uuid4

import pytest

from control.api import access
from control.api.access import Forbidden
from control.api.credentials import Credential
from control.bootstrap import ensure_operator
from gateway.kit.problem import NotFound
from gateway.kit.sql import Pool
from gateway.ledger.accounts import PLATFORM
from tests.control.conftest import Client, Member, join
from tests.control.test_logos import publish


@pytest.fixture
async def operator(pool: Pool, member: Member) -> dict[str, str]:
    return {"Authorization": f"Bearer {await ensure_operator(pool)}"}


async def test_the_operator_verifies_and_suspends_publishers(
    client: Client, stranger: Client, operator: dict[str, str]
) -> None:
    publisher_id = (await publish(client)).rpartition("/")[2]
    at = f"/platform/publishers/{publisher_id}"
    verified = (await (await client.patch(at, json={"is_verified": True}, headers=operator)).json())["data"]
    assert (verified["is_verified"], verified["suspended_at"]) == (True, None)
    assert (await stranger.get("/publishers/shop")).status == 200
    await client.patch(at, json={"is_suspended": True}, headers=operator)
    assert (await stranger.get("/publishers/shop")).status == 404
    assert (await (await stranger.get("/publishers")).json())["data"] == []
    await client.patch(at, json={"is_suspended": False}, headers=operator)
    assert (await (await stranger.get("/publishers/shop")).json())["data"]["is_verified"] is True
    assert (await client.patch(f"/platform/publishers/{uuid4()}", json={}, headers=operator)).status == 404
    assert (await client.patch(at, json={"is_verified": False})).status == 403


async def test_a_suspended_organization_does_nothing(
    client: Client, member: Member, operator: dict[str, str]
) -> None:
    at = f"/platform/organizations/{member.organization_id}"
    suspended = await client.patch(at, json={"is_suspended": True}, headers=operator)
    assert (await suspended.json())["data"]["suspended_at"] is not None
    refused = await client.get("/wallet/balance")
    assert (refused.status, (await refused.json())["code"]) == (403, "organization-suspended")
    await client.patch(at, json={"is_suspended": False}, headers=operator)
    assert (await client.get("/wallet/balance")).status == 200


async def test_what_a_suspended_organization_sells_is_in_no_store(
    client: Client, stranger: Client, member: Member, operator: dict[str, str]
) -> None:
    await publish(client)
    at = f"/platform/organizations/{member.organization_id}"
    for is_suspended, status, count in ((True, 404, 0), (False, 200, 1)):
        await client.patch(at, json={"is_suspended": is_suspended}, headers=operator)
        assert (await stranger.get("/publishers/shop")).status == status
        listed = await (await stranger.get("/publishers")).json()
        assert (len(listed["data"]), listed["pagination"]["total"]) == (count, count)
        found = await (await stranger.get("/publishers/suggest?query=shop")).json()
        assert len(found["data"]["publishers"]) == count


async def test_the_platform_cannot_be_suspended(client: Client, operator: dict[str, str]) -> None:
    at = f"/platform/organizations/{PLATFORM}"
    assert (await client.patch(at, json={"is_suspended": True}, headers=operator)).status == 404


def session(member: Member) -> Credential:
    return Credential(member.id.user_id, uuid4(), member.id.organization_id, "test", None, kind="session")


async def test_a_session_acts_wherever_its_user_is_a_member(pool: Pool, member: Member) -> None:
    team = await join(pool)
    there = {"organization_id": team.organization_id}
    with pytest.raises(NotFound):
        await access.admit(pool, session(member), "wallet.read", there)
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'viewer')",
        team.id.organization_id,
        member.id.user_id,
    )
    actor = await access.admit(pool, session(member), "wallet.read", there)
    assert actor.organization_id == team.id.organization_id
    with pytest.raises(Forbidden):
        await access.admit(pool, session(member), "api_keys.write", there)
    # A key does not follow its user.
    key = Credential(member.id.user_id, uuid4(), member.id.organization_id, "test", None)
    with pytest.raises(NotFound):
        await access.admit(pool, key, "wallet.read", there)


async def test_a_session_acts_in_projects_that_its_user_was_invited_to(pool: Pool, member: Member) -> None:
    owner = await join(pool)
    project_id: UUID = await pool.fetchval(
        "INSERT INTO projects (id, organization_id, name, slug, region, created_by) "
        "VALUES (gen_random_uuid(), $1, 'p', 'p', 'local', $2) RETURNING id",
        owner.id.organization_id,
        owner.id.user_id,
    )
    await pool.execute(
        "INSERT INTO project_members (project_id, user_id, role) VALUES ($1, $2, 'editor')",
        project_id,
        member.id.user_id,
    )
    there = {"project_id": str(project_id)}
    actor = await access.admit(pool, session(member), "projects.write", there)
    assert actor.organization_id == owner.id.organization_id
    for permission in ("projects.delete", "wallet.read", "publishers.read"):
        with pytest.raises(Forbidden):
            await access.admit(pool, session(member), permission, there)


async def test_an_operators_session_operates_from_anywhere(pool: Pool, member: Member) -> None:
    with pytest.raises(Forbidden):
        await access.admit(pool, session(member), "platform.operate", {})
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'admin')",
        PLATFORM,
        member.id.user_id,
    )
    actor = await access.admit(pool, session(member), "platform.operate", {})
    assert actor.organization_id == PLATFORM
