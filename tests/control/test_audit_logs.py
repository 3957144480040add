import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from control.api import wire_ids
from gateway.kit.sql import Pool
from tests.control.conftest import NETWORKS, Client, Member, bearer, join
from tests.control.people import person as signed_up
from tests.control.people import token as mailed_token
from tests.control.test_members import colleague

LOGS = "/organizations/default/audit-logs"
SECRET = "correct-horse-battery-staple"
PUBLISHER = {
    "name": "Shop",
    "slug": "shop",
    "publisher_category": "integration",
    "api_url": "http://127.0.0.1:9/",
    "wallet_address": "0x" + "12" * 20,
    "wallet_network_id": NETWORKS[0]["id"],
    "auth_type": "static",
    "upstream_api_key": SECRET,
}


async def entries(client: Client, **filters: str) -> list[dict[str, Any]]:
    response = await client.get(LOGS, params=filters)
    found = await response.json()
    assert response.status == 200, found
    listed: list[dict[str, Any]] = found["data"]["data"]
    return listed


async def create_key(client: Client, **more: Any) -> dict[str, Any]:
    headers = {"User-Agent": "curl/9", "X-Request-Id": "mine-1"}
    response = await client.post(
        "/organizations/default/api-keys", json={"name": "k", **more}, headers=headers
    )
    made: dict[str, Any] = (await response.json())["data"]
    assert response.headers["X-Request-Id"] == "mine-1"
    return made


async def test_a_change_is_told_with_its_circumstances(client: Client, member: Member) -> None:
    made = await create_key(client, scopes=["wallet.read"])
    (one,) = await entries(client)
    assert (
        one.items()
        >= {
            "organization_id": member.organization_id,
            "actor_id": str(member.id.user_id),
            "actor_type": "api_key",
            "action": "create_default_org_api_key",
            "action_category": "create",
            "resource_type": "api_keys",
            "resource_id": made["id"],
            "status": "success",
            "error_message": None,
            "ip_address": "127.0.0.1",
            "user_agent": "curl/9",
            "request_id": "mine-1",
        }.items()
    )
    assert one["metadata"]["fields"] == ["name", "scopes"]
    assert (await (await client.get(f"{LOGS}/{one['id']}")).json())["data"] == one
    assert (await client.get(f"{LOGS}/{uuid4()}")).status == 404


async def test_reading_is_not_told(client: Client) -> None:
    await client.get("/wallet/balance")
    assert await entries(client) == []


async def test_what_was_refused_did_not_happen(client: Client) -> None:
    assert (await client.post("/organizations/default/api-keys", json={"name": ""})).status == 400
    assert (await client.delete(f"/organizations/default/api-keys/{uuid4()}")).status == 404
    assert await entries(client) == []


async def test_a_lacking_permission_is_told(client: Client, pool: Pool, member: Member) -> None:
    who, headers = await colleague(pool, member, "viewer")
    assert (
        await client.post("/organizations/default/api-keys", json={"name": "k"}, headers=headers)
    ).status == 403
    _, admin = await colleague(pool, member, "admin")
    role = {"role_name": "owner"}
    at = f"/organizations/default/members/{who.user_id}/role"
    assert (await client.put(at, json=role, headers=admin)).status == 403
    second, first = await entries(client)
    assert (first["actor_id"], first["action"], first["status"]) == (
        str(who.user_id), "create_default_org_api_key", "denied",
    )  # fmt: skip
    assert first["error_message"] == "this key lacks api_keys.write"
    assert (second["action"], second["status"], second["resource_id"]) == (
        "assign_role", "denied", str(who.user_id),
    )  # fmt: skip


async def test_an_operation_with_transactions_of_its_own_is_told(client: Client) -> None:
    response = await client.post("/organizations/default/publishers", json=PUBLISHER)
    made = await response.json()
    assert response.status == 201, made
    (one,) = await entries(client)
    assert (one["action"], one["resource_id"]) == ("create_publisher", made["data"]["id"])


async def test_what_was_made_is_named(client: Client, stranger: Client, pool: Pool, member: Member) -> None:
    """However the operation is made up, and whatever else is in its path."""
    body: dict[str, Any] = {"name": "h", "url": "http://127.0.0.1:9/", "events": ["*"]}
    hook = await (await client.post("/organizations/default/webhooks", json=body)).json()
    urls = dict.fromkeys(("authorization_url", "token_url"), "http://127.0.0.1:9/")
    body = {"slug": "hub", "name": "Hub", "client_id": "us", "client_secret": SECRET, "scopes": [], **urls}
    hub = await (await client.post("/organizations/default/oauth/providers", json=body)).json()
    project = (await (await client.post("/v1/projects", json={"name": "P"})).json())["project"]
    at = f"/v1/projects/{project['id']}/api-keys"
    issued = await (await client.post(at, json={"name": "k"})).json()
    asked = {"email": "ada@example.com", "role": "viewer"}
    invited = await (await client.post("/organizations/default/invites", json=asked)).json()
    ada = await signed_up(stranger, pool)
    spent = {"token": await mailed_token(pool, "invite")}
    await stranger.post("/auth/accept-invite", json=spent, headers=ada.headers)
    await stranger.delete(f"/organizations/{member.organization_id}/members/me", headers=ada.headers)
    told = {one["action"]: one["resource_id"] for one in await entries(client)}
    assert (
        told.items()
        >= {
            "create_webhook": hook["data"]["webhook"]["id"],
            "create_org_oauth_provider": hub["data"]["id"],
            "v1_create_project_api_key": str(wire_ids.read("k", issued["key"]["id"])),
            "accept_organization_invite": invited["data"]["id"],
            "leave_organization": ada.data["user"]["id"],
        }.items()
    )
    # What an entry is found by is spelled in either way.
    assert len(await entries(client, resource_id=issued["key"]["id"])) == 1
    assert len(await entries(client, actor_id=member.id.user_id.hex)) == 5


async def test_what_is_sent_again_is_told_once(client: Client) -> None:
    for _ in range(2):
        headers = {"Idempotency-Key": "same"}
        await client.post("/organizations/default/api-keys", json={"name": "k"}, headers=headers)
    assert len(await entries(client)) == 1


async def test_a_change_and_its_entry_are_one(client: Client, pool: Pool) -> None:
    await pool.execute("ALTER TABLE audit_logs ADD CHECK (action <> 'create_default_org_api_key')")
    before = await pool.fetchval("SELECT count(*) FROM api_keys")
    assert (await client.post("/organizations/default/api-keys", json={"name": "k"})).status == 500
    assert await pool.fetchval("SELECT count(*) FROM api_keys") == before


async def test_every_filter_filters(client: Client, member: Member) -> None:
    made = await create_key(client)
    await client.delete(f"/organizations/default/api-keys/{made['id']}")
    newest, oldest = await entries(client)
    for name, value, count in [
        ("actor_id", str(member.id.user_id), 2),
        ("actor_id", str(uuid4()), 0),
        ("action", "revoke_default_org_api_key", 1),
        ("resource_type", "api_keys", 2),
        ("resource_type", "wallet", 0),
        ("resource_id", made["id"], 2),
        ("status", "success", 2),
        ("status", "denied", 0),
        ("action_category", "delete", 1),
        ("start_date", newest["created_at"], 1),
        ("end_date", newest["created_at"], 1),
        ("end_date", "2020-01-01", 0),
        ("start_date", "2020-01-01T00:00:00", 2),
        ("before", newest["id"], 1),
        ("limit", "1", 1),
        ("offset", "1", 1),
    ]:
        assert len(await entries(client, **{name: value})) == count, (name, value)
    assert [one["id"] for one in await entries(client, offset="1")] == [oldest["id"]]


@pytest.mark.parametrize(
    ("name", "value"),
    [("status", "x"), ("actor_id", "x"), ("start_date", "x"), ("start_date", "0001-01-01T00:00:00+14:00")],
)
async def test_a_filter_that_makes_no_sense_is_400(client: Client, name: str, value: str) -> None:
    assert (await client.get(LOGS, params={name: value})).status == 400


async def test_nobody_reads_the_log_of_others(client: Client, pool: Pool) -> None:
    await create_key(client)
    (one,) = await entries(client)
    other = await join(pool)
    assert (await client.get(f"{LOGS}/{one['id']}", headers=other.headers)).status == 404


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_logs SET status = 'denied'",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        "SET session_replication_role = replica; DELETE FROM audit_logs",
    ],
)
async def test_the_log_is_append_only_for_its_writer(client: Client, pool: Pool, statement: str) -> None:
    """The pool is the server's own: the owner of the table, and here even a superuser."""
    await create_key(client)
    async with pool.acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
        await connection.execute("RESET session_replication_role")
    assert len(await entries(client)) == 1


async def test_an_entry_is_never_dated_back(pool: Pool, client: Client) -> None:
    await pool.execute(
        "INSERT INTO audit_logs (id, actor_type, action, action_category, resource_type, status, created_at) "
        "VALUES (gen_random_uuid(), 'user', 'x', 'create', 'x', 'success', '2001-01-01')"
    )
    assert await pool.fetchval("SELECT count(*) FROM audit_logs WHERE created_at < '2020-01-01'") == 0


async def test_after_a_year_the_operator_may_delete(pool: Pool, client: Client) -> None:
    await create_key(client)
    await pool.execute("ALTER TABLE audit_logs DISABLE TRIGGER keep")
    await pool.execute("UPDATE audit_logs SET created_at = now() - interval '366 days'")
    await pool.execute("ALTER TABLE audit_logs ENABLE ALWAYS TRIGGER keep")
    assert await pool.execute("DELETE FROM audit_logs") == "DELETE 1"


async def test_no_secret_is_in_the_log(client: Client, pool: Pool, member: Member) -> None:
    made = await create_key(client, spend_caps={"per_call": "1"})
    with_key = {"Authorization": f"Bearer {made['api_key']}"}
    await client.post("/organizations/default/publishers", json=PUBLISHER, headers=with_key)
    publishers = (await (await client.get("/organizations/default/publishers")).json())["data"]
    at = f"/organizations/default/publishers/{publishers[0]['id']}"
    await client.put(at, json={"upstream_api_key": SECRET + "2"}, headers=with_key)
    project = (await (await client.post("/v1/projects", json={"name": "P"})).json())["project"]
    issued = await (await client.post(f"/v1/projects/{project['id']}/api-keys", json={"name": "k"})).json()
    agent = (await (await client.post("/auth/agent", json={})).json())["data"]["agent"]
    narrow = await bearer(pool, member.id, ["wallet.read"])
    await client.post("/organizations/default/api-keys", json={"name": SECRET}, headers=narrow)
    rows = await pool.fetch("SELECT audit_logs::text AS everything FROM audit_logs")
    assert len(rows) == 7
    everything = "\n".join(row["everything"] for row in rows)
    for secret in (
        made["api_key"],
        issued["plaintext"],
        agent["api_key"],
        narrow["Authorization"][7:],
        SECRET,
    ):
        assert secret not in everything
    # Whoever signs up is told about, too.
    assert str(UUID(agent["id"])) in everything


async def test_many_at_once_are_all_told(client: Client) -> None:
    await asyncio.gather(*(create_key(client) for _ in range(20)))
    assert len(await entries(client, limit="100")) == 20
