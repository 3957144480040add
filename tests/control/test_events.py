"""What happens to people, projects, organizations and keys is an event of the same transaction."""

import json
from typing import Any
from uuid import UUID

from control.api import wire_ids
from control.api.ports import Ports
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member
from tests.control.people import person, token
from tests.control.test_members import colleague
from tests.control.test_projects import create as create_project
from tests.control.test_projects import issue
from tests.control.test_webhooks import Receiver, receiver, turn

__all__ = ["receiver"]

ORG = "/organizations/default"


async def told(pool: Pool) -> list[tuple[str, dict[str, Any]]]:
    """Since it was last asked, oldest first."""
    rows = await pool.fetch("DELETE FROM events RETURNING type, payload, created_at")
    return [(row["type"], row["payload"]) for row in sorted(rows, key=lambda row: row["created_at"])]


async def test_keys(client: Client, pool: Pool) -> None:
    made = await client.post(f"{ORG}/api-keys", json={"name": "k"})
    key_id = (await made.json())["data"]["key_id"]
    await client.patch(f"{ORG}/api-keys/{key_id}/spend-caps", json={"per_call": "1"})
    await client.patch(f"{ORG}/api-keys/{key_id}/scopes", json={"scopes": ["wallet.read"]})
    await client.delete(f"{ORG}/api-keys/{key_id}")
    types = [(name, payload["key_id"]) for name, payload in await told(pool)]
    expected = ["key.created", "key.updated", "key.updated", "key.revoked"]
    assert types == [(name, key_id) for name in expected]


async def test_projects_and_their_keys(client: Client, pool: Pool) -> None:
    project = await create_project(client)
    at = f"/v1/projects/{project['id']}"
    key = await issue(client, project)
    await client.patch(f"{at}/api-keys/{key['key']['id']}", json={"name": "other"})
    for _ in range(2):
        assert (await client.delete(f"{at}/api-keys/{key['key']['id']}")).status == 200
    await client.patch(at, json={"name": "Other"})
    await client.delete(at)
    events = await told(pool)
    assert [name for name, _ in events] == [
        "project.created", "key.created", "key.updated", "key.revoked", "project.updated", "project.deleted",
    ]  # fmt: skip
    assert len({payload["project_id"] for _, payload in events}) == 1
    assert events[0][1]["slug"] == project["slug"]


async def test_a_project_that_moves_is_told_to_both(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    made = await stranger.post("/v1/projects", json={"name": "Notes"}, headers=ada.headers)
    project = (await made.json())["project"]
    await stranger.post(f"/v1/projects/{project['id']}/api-keys", json={"name": "k"}, headers=ada.headers)
    team = await (await stranger.post("/v1/orgs", json={"name": "Team"}, headers=ada.headers)).json()
    await told(pool)
    body = {"orgId": team["org"]["id"]}
    moved = await stranger.post(f"/v1/projects/{project['id']}/move", json=body, headers=ada.headers)
    assert moved.status == 200, await moved.text()
    rows = await pool.fetch("SELECT type, organization_id, payload FROM events ORDER BY created_at, id")
    assert sorted(row["type"] for row in rows) == ["key.revoked", "project.moved", "project.moved"]
    ends = [row["payload"] for row in rows if row["type"] == "project.moved"]
    assert ends[0] == ends[1]
    where = {str(row["organization_id"]) for row in rows if row["type"] == "project.moved"}
    assert where == {ends[0]["from_organization_id"], ends[0]["to_organization_id"]}


async def test_members_and_their_keys(client: Client, pool: Pool, member: Member) -> None:
    who, headers = await colleague(pool, member, "editor")
    await client.post(
        f"/organizations/{member.organization_id}/api-keys", json={"name": "k"}, headers=headers
    )
    await told(pool)
    at = f"{ORG}/members/{who.user_id}"
    assert (await client.put(f"{at}/role", json={"role_name": "viewer"})).status == 200
    assert (await client.delete(at)).status == 204
    events = await told(pool)
    assert [name for name, _ in events] == [
        "member.role_changed",
        *["key.revoked"] * (len(events) - 2),
        "member.removed",
    ]
    assert events[0][1] == {"user_id": str(who.user_id), "role": "viewer"}
    assert len(events) > 2


async def test_somebody_joins_once(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    team = await (await stranger.post("/v1/orgs", json={"name": "Team"}, headers=ada.headers)).json()
    at = f"/v1/orgs/{team['org']['id']}/invitations"
    bob = await person(stranger, pool, "bob@example.com")
    events = []
    for _ in range(2):
        sent = await stranger.post(at, json={"email": "bob@example.com"}, headers=ada.headers)
        assert sent.status == 200, await sent.text()
        word = {"token": await token(pool, "invite", "bob@example.com")}
        accepted = await stranger.post("/v1/org-invitations/accept", json=word, headers=bob.headers)
        assert accepted.status == 200, await accepted.text()
        events += await told(pool)
    joined = [payload for name, payload in events if name == "member.joined"]
    assert joined == [{"user_id": bob.data["user"]["id"], "role": "editor"}]
    invited = [payload for name, payload in events if name == "member.invited"]
    assert [one["email"] for one in invited] == ["bob@example.com"] * 2
    assert {(one["invited_by"], one["role"]) for one in invited} == {(ada.data["user"]["id"], "editor")}


async def test_organizations(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    team = await (await stranger.post("/v1/orgs", json={"name": "Team"}, headers=ada.headers)).json()
    at = f"/v1/orgs/{team['org']['id']}"
    await stranger.patch(at, json={"name": "Other"}, headers=ada.headers)
    await stranger.delete(at, headers=ada.headers)
    assert [name for name, _ in await told(pool)] == ["organization.updated", "organization.deleted"]


async def test_what_is_refused_is_no_event(client: Client, pool: Pool) -> None:
    project = await create_project(client)
    await told(pool)
    refused = await client.patch(f"/v1/projects/{project['id']}", json={"slug": "-"})
    assert refused.status == 400
    assert (await client.delete(f"{ORG}/members/me")).status == 409
    assert await told(pool) == []


async def test_a_webhook_of_a_project_is_told_of_that_project(
    client: Client, pool: Pool, ports: Ports, receiver: Receiver
) -> None:
    mine, other = [await create_project(client) for _ in range(2)]
    project_id = str(wire_ids.read_any(mine["id"]))
    body = {"name": "p", "url": receiver.url, "events": ["*"], "project_id": project_id}
    made = await client.post(f"{ORG}/webhooks", json=body)
    webhook = (await made.json())["data"]["webhook"]
    assert (made.status, webhook["project_id"]) == (201, project_id)
    await told(pool)
    for project in (mine, other):
        await client.patch(f"/v1/projects/{project['id']}", json={"name": "Other"})
    await client.post(f"{ORG}/api-keys", json={"name": "k"})
    await turn(pool, ports)
    messages = [json.loads(one) for _, one in receiver.got]
    assert [(one["type"], one["data"]["project_id"]) for one in messages] == [("project.updated", project_id)]
    # A replay knows the difference as well.
    replayed = await client.post(
        f"{ORG}/webhooks/{webhook['id']}/deliveries/replay", json={"since": "2020-01-01T00:00:00Z"}
    )
    assert (await replayed.json())["data"]["queued"] == 1


async def test_a_webhook_of_somebody_elses_project_is_refused(
    client: Client, stranger: Client, pool: Pool
) -> None:
    ada = await person(stranger, pool)
    made = await stranger.post("/v1/projects", json={"name": "Notes"}, headers=ada.headers)
    theirs = str(wire_ids.read_any((await made.json())["project"]["id"]))
    for project_id in (theirs, str(UUID(int=1))):
        body = {"name": "p", "url": "http://127.0.0.1:9/", "events": ["*"], "project_id": project_id}
        refused = await client.post(f"{ORG}/webhooks", json=body)
        assert (refused.status, (await refused.json())["errors"][0]["pointer"]) == (400, "body/project_id")


async def test_owners_get_a_letter_about_a_webhook_that_is_disabled(
    stranger: Client, pool: Pool, ports: Ports, receiver: Receiver
) -> None:
    ada = await person(stranger, pool)
    body = {"name": "billing", "url": receiver.url, "events": ["key.created"]}
    assert (await stranger.post(f"{ORG}/webhooks", json=body, headers=ada.headers)).status == 201
    await stranger.post(f"{ORG}/api-keys", json={"name": "k"}, headers=ada.headers)
    receiver.status = 410
    for _ in range(2):
        await turn(pool, ports)
    rows = await pool.fetch(
        "SELECT recipient, subject, body_text FROM outbox WHERE subject LIKE 'A webhook%'"
    )
    [(to, subject, text)] = [tuple(row.values()) for row in rows]
    assert (to, subject) == ("ada@example.com", "A webhook of Ada is disabled")
    assert receiver.url in text
