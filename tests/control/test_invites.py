import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest

from control.api.permissions import OWN_ACCOUNT
from control.identity import people
from control.identity.people import Newcomer
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join
from tests.control.people import letters as written
from tests.control.people import person as signed_up
from tests.control.people import token as mailed_token
from tests.control.test_members import colleague

INVITES = "/organizations/default/invites"
ACCEPT = "/auth/accept-invite"
KINDS = ("invite", "project", "token")


Letters = Callable[[], Awaitable[list[tuple[str, str]]]]


@pytest.fixture
def letters(pool: Pool) -> Letters:
    """What was mailed, oldest first: to whom, and the link."""

    async def read() -> list[tuple[str, str]]:
        rows = await pool.fetch("SELECT recipient, body_text FROM outbox ORDER BY created_at, id")
        return [(row["recipient"], re.findall(r"https://\S+", row["body_text"])[0]) for row in rows]

    return read


async def token(letters: Letters, number: int = 0) -> str:
    _, link = (await letters())[number]
    parts = urlsplit(link)
    ((_, word),) = [one for one in parse_qsl(parts.query or parts.fragment) if one[0] in KINDS]
    return word


async def person(pool: Pool, email: str) -> tuple[Newcomer, dict[str, str]]:
    who = await people.create(pool, "person", "Ada", email)
    return who, await bearer(pool, who)


async def role_of(pool: Pool, member: Member, who: Newcomer) -> str | None:
    found = await pool.fetchval(
        "SELECT role FROM members WHERE organization_id = $1 AND user_id = $2",
        member.id.organization_id,
        who.user_id,
    )
    return None if found is None else str(found)


async def invite(client: Client, **body: str) -> dict[str, Any]:
    response = await client.post(INVITES, json={"email": "Ada@Example.com", **body})
    made: dict[str, Any] = (await response.json())["data"]
    assert response.status == 201, made
    return made


async def test_an_invitation_is_accepted_once(
    client: Client, pool: Pool, member: Member, letters: Letters
) -> None:
    made = await invite(client, role="admin")
    assert made["email"] == "ada@example.com"
    assert "token" not in made
    ((recipient, link),) = await letters()
    assert recipient == "ada@example.com"
    assert link.startswith("https://gateway.example/auth/link#invite=")
    who, headers = await person(pool, "ADA@example.com")
    body = {"token": await token(letters)}
    answers = await asyncio.gather(*(client.post(ACCEPT, json=body, headers=headers) for _ in range(4)))
    assert sorted(one.status for one in answers) == [200, 400, 400, 400]
    assert await role_of(pool, member, who) == "admin"
    listed = (await (await client.get(INVITES)).json())["data"]
    assert [one["accepted_at"] is not None for one in listed] == [True]


@pytest.mark.parametrize(
    "spoiled",
    [
        "UPDATE invites SET expires_at = now()",
        "UPDATE invites SET revoked_at = now()",
        "UPDATE invites SET accepted_at = now()",
        "UPDATE organizations SET suspended_at = now() WHERE id IN (SELECT organization_id FROM invites)",
        "UPDATE organizations SET deleted_at = now() WHERE id IN (SELECT organization_id FROM invites)",
    ],
)
async def test_a_link_that_is_over_opens_nothing(
    client: Client, pool: Pool, letters: Letters, spoiled: str
) -> None:
    await invite(client)
    _, headers = await person(pool, "ada@example.com")
    await pool.execute(spoiled)
    refused = await client.post(ACCEPT, json={"token": await token(letters)}, headers=headers)
    assert (refused.status, (await refused.json())["code"]) == (400, "invitation-invalid")


async def test_an_invitation_is_for_its_address(client: Client, pool: Pool, letters: Letters) -> None:
    await invite(client)
    _, headers = await person(pool, "eve@example.com")
    assert (await client.post(ACCEPT, json={"token": await token(letters)}, headers=headers)).status == 400
    assert (await client.post(ACCEPT, json={"token": "nobody-ever-had-this"}, headers=headers)).status == 404


async def test_inviting_again_ends_the_first_link(client: Client, pool: Pool, letters: Letters) -> None:
    await invite(client)
    await invite(client, role="viewer")
    _, headers = await person(pool, "ada@example.com")
    first, second = [
        (await client.post(ACCEPT, json={"token": await token(letters, number)}, headers=headers)).status
        for number in range(2)
    ]
    assert (first, second) == (404, 200)


async def test_a_revoked_invitation_is_over(client: Client, pool: Pool, letters: Letters) -> None:
    made = await invite(client)
    assert (await client.delete(f"{INVITES}/{made['id']}")).status == 204
    assert (await client.delete(f"{INVITES}/{made['id']}")).status == 404
    _, headers = await person(pool, "ada@example.com")
    assert (await client.post(ACCEPT, json={"token": await token(letters)}, headers=headers)).status == 400


async def test_an_invitation_demotes_nobody(
    client: Client, pool: Pool, member: Member, letters: Letters
) -> None:
    await pool.execute("UPDATE users SET email = 'ada@example.com' WHERE id = $1", member.id.user_id)
    await invite(client, role="viewer")
    accepted = await client.post(ACCEPT, json={"token": await token(letters)})
    assert (await accepted.json())["data"]["role"] == "owner"
    assert await role_of(pool, member, member.id) == "owner"


async def test_a_custom_role_that_is_gone_is_given_to_nobody(
    client: Client, pool: Pool, member: Member, letters: Letters
) -> None:
    role = {"name": "reader", "permissions": ["wallet.read"]}
    made = (await (await client.post("/organizations/default/roles", json=role)).json())["data"]
    await invite(client, role="reader")
    at = f"/organizations/default/roles/{made['id']}"
    assert (await client.delete(at)).status == 409
    await pool.execute("DELETE FROM roles")
    who, headers = await person(pool, "ada@example.com")
    assert (await client.post(ACCEPT, json={"token": await token(letters)}, headers=headers)).status == 400
    assert await role_of(pool, member, who) is None


async def test_nobody_invites_to_more_than_they_have(
    client: Client, pool: Pool, member: Member, letters: Letters
) -> None:
    _, admin = await colleague(pool, member, "admin")
    body = {"email": "ada@example.com", "role": "owner"}
    assert (await client.post(INVITES, json=body, headers=admin)).status == 403
    assert await letters() == []


async def test_a_member_is_not_invited_again(
    client: Client, pool: Pool, member: Member, letters: Letters
) -> None:
    made = await invite(client)
    who, headers = await person(pool, "ada@example.com")
    spent = {"token": await token(letters)}
    assert (await client.post(ACCEPT, json=spent, headers=headers)).status == 200
    for at in (INVITES, f"/v1/orgs/{member.organization_id}/invitations"):
        body = {"email": "ADA@example.com", "role": "viewer"}
        refused = await client.post(at, json=body)
        said = await refused.json()
        assert (refused.status, said["code"].replace("_", "-")) == (409, "already-member")
        assert "ada@example.com is here already, as Ada" in said["message"]
    # To one project they may be invited still, for more than they may elsewhere; once.
    project = (await (await client.post("/v1/projects", json={"name": "P"})).json())["project"]
    at, body = f"/v1/projects/{project['id']}/invitations", {"email": "ada@example.com", "role": "admin"}
    assert (await client.post(at, json=body)).status == 201
    await pool.execute(
        "INSERT INTO project_members (project_id, user_id, role) SELECT id, $1, 'admin' FROM projects",
        who.user_id,
    )
    assert (await client.post(at, json=body)).status == 409
    # Whoever may not list the members learns nothing, and it does not matter where else somebody is one.
    role = {"name": "porter", "permissions": ["projects.read"]}
    assert (await client.post("/organizations/default/roles", json=role)).status == 201
    blind = await bearer(pool, member.id, ["members.write", "projects.read", *OWN_ACCOUNT])
    body = {"email": "ada@example.com", "role": "porter"}
    quiet = await client.post(INVITES, json=body, headers=blind)
    assert quiet.status == 201, await quiet.text()
    elsewhere = (await join(pool)).headers
    other = await client.post(INVITES, json={"email": "ada@example.com"}, headers=elsewhere)
    assert (other.status, made["email"]) == (201, "ada@example.com")


async def test_v1_invites_to_one_project_only(
    client: Client, pool: Pool, member: Member, letters: Letters
) -> None:
    project = (await (await client.post("/v1/projects", json={"name": "P"})).json())["project"]
    at = f"/v1/projects/{project['id']}/invitations"
    body = {
        "email": "ada@example.com",
        "role": "developer",
        "callbackURL": "https://gateway.example/join?a=1",
    }
    invited = await client.post(at, json=body)
    assert invited.status == 201, await invited.text()
    assert (await letters())[0][1].startswith("https://gateway.example/join?a=1&token=")
    who, headers = await person(pool, "ada@example.com")
    waiting = (await (await client.get("/v1/me/invitations", headers=headers)).json())["invitations"]
    assert [(one["projectId"], one["role"]) for one in waiting] == [(project["id"], "developer")]
    # An organization's link and a project's are not each other's.
    spent = {"token": await token(letters)}
    assert (await client.post("/v1/org-invitations/accept", json=spent, headers=headers)).status == 400
    accepted = await client.post("/v1/me/invitations/accept", json=spent, headers=headers)
    assert await accepted.json() == {
        "projectId": project["id"], "userId": who.user_id.hex, "role": "developer",
    }  # fmt: skip
    assert await role_of(pool, member, who) is None
    listed = (await (await client.get(f"/v1/projects/{project['id']}/members")).json())["members"]
    assert [(one["userId"], one["role"]) for one in listed] == [(who.user_id.hex, "developer")]
    at = f"/v1/projects/{project['id']}/members/{who.user_id.hex}"
    changed = await (await client.patch(at, json={"role": "viewer"})).json()
    assert changed["member"]["role"] == "viewer"
    assert await (await client.delete(at)).json() == {"removed": who.user_id.hex}
    assert (await client.delete(at)).status == 404


@pytest.mark.parametrize(
    "callback",
    [
        "https://evil.example/",
        "https://gateway.example.evil.example/",
        "https://gateway.example@evil.example/",
        "//evil.example/",
        "javascript:alert(1)",
        "http://[",
        "http://gateway.example/",
    ],
)
async def test_our_mail_leads_to_our_own_pages(
    client: Client, member: Member, letters: Letters, callback: str
) -> None:
    at = f"/v1/orgs/{member.organization_id}/invitations"
    refused = await client.post(at, json={"email": "ada@example.com", "callbackURL": callback})
    said = await refused.json()
    assert (refused.status, said["code"]) == (400, "validation_failed")
    assert [(one["code"], one["path"]) for one in said["issues"]] == [("custom", ["callbackURL"])]
    assert await letters() == []


async def test_v1_org_invitations(client: Client, pool: Pool, member: Member, letters: Letters) -> None:
    at = f"/v1/orgs/{member.organization_id}/invitations"
    assert (await client.post(at, json={"email": "a@b.example", "role": "owner"})).status == 400
    made = (await (await client.post(at, json={"email": "ada@example.com"})).json())["invitation"]
    assert made["role"] == "developer"
    who, headers = await person(pool, "ada@example.com")
    body = {"token": await token(letters)}
    accepted = await (await client.post("/v1/org-invitations/accept", json=body, headers=headers)).json()
    assert accepted["accepted"] is True
    assert await role_of(pool, member, who) == "editor"
    listed = (await (await client.get(at)).json())["invitations"]
    assert [(one["id"], one["acceptedAt"] is not None) for one in listed] == [(made["id"], True)]


async def test_the_token_is_stored_as_its_hash(client: Client, pool: Pool, letters: Letters) -> None:
    await invite(client)
    rows = await pool.fetch("SELECT invites::text AS everything FROM invites")
    assert await token(letters) not in str(rows)


async def test_invitations_of_others_are_not_found(client: Client, pool: Pool) -> None:
    other = await join(pool)
    made = await (await client.post(INVITES, json={"email": "ada@example.com"}, headers=other.headers)).json()
    assert (await client.delete(f"{INVITES}/{made['data']['id']}")).status == 404


async def test_a_person_joins_a_team_and_acts_in_it(
    client: Client, stranger: Client, pool: Pool, member: Member
) -> None:
    ada = await signed_up(stranger, pool)
    await invite(client, role="viewer")
    word = await mailed_token(pool, "invite")
    team = f"/organizations/{member.organization_id}"
    assert (await stranger.get(f"{team}/members", headers=ada.headers)).status == 404
    joined = await stranger.post(ACCEPT, json={"token": word}, headers=ada.headers)
    assert (await joined.json())["data"]["organization_id"] == member.organization_id
    assert (await stranger.get(f"{team}/members", headers=ada.headers)).status == 200
    refused = await stranger.post(f"{team}/api-keys", json={"name": "k"}, headers=ada.headers)
    assert (refused.status, (await refused.json())["message"]) == (403, "this session lacks api_keys.write")
    listed = (await (await stranger.get("/organizations", headers=ada.headers)).json())["data"]
    assert [(one["is_personal"], one["id"] == member.organization_id) for one in listed] == [
        (True, False), (True, True),
    ]  # fmt: skip
    told = (await (await client.get("/organizations/default/audit-logs")).json())["data"]["data"]
    assert [(one["action"], one["actor_type"], one["status"]) for one in told] == [
        ("create_org_api_key", "user", "denied"),
        ("accept_organization_invite", "user", "success"),
        ("create_invite", "api_key", "success"),
    ]


async def test_a_projects_admin_moves_it_to_an_organization_of_their_own(
    client: Client, stranger: Client, pool: Pool, member: Member
) -> None:
    """They are nobody in the organization that it leaves."""
    project = (await (await client.post("/v1/projects", json={"name": "P"})).json())["project"]
    at = f"/v1/projects/{project['id']}"
    ada = await signed_up(stranger, pool)
    body = {"email": "ada@example.com", "role": "admin"}
    assert (await client.post(f"{at}/invitations", json=body)).status == 201
    spent = {"token": await mailed_token(pool, "project")}
    joined = await stranger.post("/v1/me/invitations/accept", json=spent, headers=ada.headers)
    assert joined.status == 200, await joined.text()
    (own,) = (await (await stranger.get("/v1/me/orgs", headers=ada.headers)).json())["orgs"]
    nowhere = await stranger.post(f"{at}/move", json={"orgId": str(uuid4())}, headers=ada.headers)
    assert nowhere.status == 404
    moved = await stranger.post(f"{at}/move", json={"orgId": own["id"]}, headers=ada.headers)
    assert (moved.status, (await moved.json())["project"]["orgId"]) == (200, own["id"])
    assert (await client.get(at)).status == 404


async def test_the_letter_names_the_role_as_the_invitation_did(client: Client, pool: Pool) -> None:
    project = (await (await client.post("/v1/projects", json={"name": "P"})).json())["project"]
    body = {"email": "ada@example.com", "role": "developer"}
    await client.post(f"/v1/projects/{project['id']}/invitations", json=body)
    await invite(client, role="editor")
    first, second = await written(pool)
    assert "invites you to P, as developer." in first
    assert "as editor." in second


async def test_a_person_makes_a_team_and_moves_a_project_into_it(stranger: Client, pool: Pool) -> None:
    ada = await signed_up(stranger, pool)
    made = await stranger.post("/v1/orgs", json={"name": "Team"}, headers=ada.headers)
    team = (await made.json())["org"]
    orgs = (await (await stranger.get("/v1/me/orgs", headers=ada.headers)).json())["orgs"]
    assert [one["personal"] for one in orgs] == [True, False]
    created = await stranger.post("/v1/projects", json={"name": "P"}, headers=ada.headers)
    project = (await created.json())["project"]
    assert project["orgId"] == orgs[0]["id"]
    at = f"/v1/projects/{project['id']}"
    key = await (await stranger.post(f"{at}/api-keys", json={"name": "k"}, headers=ada.headers)).json()
    moved = await stranger.post(f"{at}/move", json={"orgId": team["id"]}, headers=ada.headers)
    assert (await moved.json())["project"]["orgId"] == team["id"]
    brk = {"Authorization": f"Bearer {key['plaintext']}"}
    assert (await stranger.get(f"{at}/info", headers=brk)).status == 401
    there = await stranger.post("/v1/projects", json={"name": "Q", "orgId": team["id"]}, headers=ada.headers)
    assert (await there.json())["project"]["orgId"] == team["id"]
    seen = (await (await stranger.get("/v1/projects", headers=ada.headers)).json())["projects"]
    assert len(seen) == 2
    for organization, named in ((orgs[0], []), (team, ["P", "Q"])):
        where = {"organization_id": organization["id"]}
        listed = await (await stranger.get("/projects", params=where, headers=ada.headers)).json()
        assert [one["name"] for one in listed["data"]] == named
        assert listed["pagination"]["total"] == len(named)
    bob = await signed_up(stranger, pool, "bob@example.com")
    foreign = await stranger.get("/projects", params={"organization_id": team["id"]}, headers=bob.headers)
    assert foreign.status == 404
    kept = await stranger.delete(f"/v1/orgs/{team['id']}", headers=ada.headers)
    assert (kept.status, (await kept.json())["message"]) == (400, "it still has projects")
    kept = await stranger.delete(f"/v1/orgs/{orgs[0]['id']}", headers=ada.headers)
    assert (kept.status, (await kept.json())["message"]) == (400, "it is personal")
    renamed = await stranger.patch(f"/v1/orgs/{team['id']}", json={"name": "Crew"}, headers=ada.headers)
    assert (await renamed.json())["org"]["name"] == "Crew"
    personal = await stranger.patch(f"/v1/orgs/{orgs[0]['id']}", json={"name": "No"}, headers=ada.headers)
    assert (await personal.json())["code"] == "not_found_or_not_writable"
