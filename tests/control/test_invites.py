import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from control.identity import mail, people
from control.identity.people import Newcomer
from gateway.kit.sql import Db, Pool
from tests.control.conftest import Client, Member, bearer, join
from tests.control.test_members import colleague

INVITES = "/organizations/default/invites"
ACCEPT = "/auth/accept-invite"


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    sent: list[Mapping[str, str]] = []

    async def queue(db: Db, to: str, template: str, values: Mapping[str, str]) -> None:
        sent.append({"to": to, "template": template, **values})

    monkeypatch.setattr(mail, "queue", queue)
    return sent


def token(letter: Mapping[str, str]) -> str:
    return parse_qs(urlsplit(letter["link"]).query)["token"][0]


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
    client: Client, pool: Pool, member: Member, letters: list[Mapping[str, str]]
) -> None:
    made = await invite(client, role="admin")
    assert made["email"] == "ada@example.com"
    assert "token" not in made
    assert letters[0]["to"] == "ada@example.com"
    assert letters[0]["link"].startswith("https://gateway.example/invitations?token=")
    who, headers = await person(pool, "ADA@example.com")
    body = {"token": token(letters[0])}
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
    client: Client, pool: Pool, letters: list[Mapping[str, str]], spoiled: str
) -> None:
    await invite(client)
    _, headers = await person(pool, "ada@example.com")
    await pool.execute(spoiled)
    refused = await client.post(ACCEPT, json={"token": token(letters[0])}, headers=headers)
    assert (refused.status, (await refused.json())["code"]) == (400, "invitation-invalid")


async def test_an_invitation_is_for_its_address(
    client: Client, pool: Pool, letters: list[Mapping[str, str]]
) -> None:
    await invite(client)
    _, headers = await person(pool, "eve@example.com")
    assert (await client.post(ACCEPT, json={"token": token(letters[0])}, headers=headers)).status == 400
    assert (await client.post(ACCEPT, json={"token": "nobody-ever-had-this"}, headers=headers)).status == 404


async def test_inviting_again_ends_the_first_link(
    client: Client, pool: Pool, letters: list[Mapping[str, str]]
) -> None:
    await invite(client)
    await invite(client, role="viewer")
    _, headers = await person(pool, "ada@example.com")
    first, second = [
        (await client.post(ACCEPT, json={"token": token(letter)}, headers=headers)).status
        for letter in letters
    ]
    assert (first, second) == (404, 200)


async def test_a_revoked_invitation_is_over(
    client: Client, pool: Pool, letters: list[Mapping[str, str]]
) -> None:
    made = await invite(client)
    assert (await client.delete(f"{INVITES}/{made['id']}")).status == 204
    assert (await client.delete(f"{INVITES}/{made['id']}")).status == 404
    _, headers = await person(pool, "ada@example.com")
    assert (await client.post(ACCEPT, json={"token": token(letters[0])}, headers=headers)).status == 400


async def test_an_invitation_demotes_nobody(
    client: Client, pool: Pool, member: Member, letters: list[Mapping[str, str]]
) -> None:
    await pool.execute("UPDATE users SET email = 'ada@example.com' WHERE id = $1", member.id.user_id)
    await invite(client, role="viewer")
    accepted = await client.post(ACCEPT, json={"token": token(letters[0])})
    assert (await accepted.json())["data"]["role"] == "owner"
    assert await role_of(pool, member, member.id) == "owner"


async def test_a_custom_role_that_is_gone_is_given_to_nobody(
    client: Client, pool: Pool, member: Member, letters: list[Mapping[str, str]]
) -> None:
    role = {"name": "reader", "permissions": ["wallet.read"]}
    made = (await (await client.post("/organizations/default/roles", json=role)).json())["data"]
    await invite(client, role="reader")
    at = f"/organizations/default/roles/{made['id']}"
    assert (await client.delete(at)).status == 409
    await pool.execute("DELETE FROM roles")
    who, headers = await person(pool, "ada@example.com")
    assert (await client.post(ACCEPT, json={"token": token(letters[0])}, headers=headers)).status == 400
    assert await role_of(pool, member, who) is None


async def test_nobody_invites_to_more_than_they_have(
    client: Client, pool: Pool, member: Member, letters: list[Mapping[str, str]]
) -> None:
    _, admin = await colleague(pool, member, "admin")
    body = {"email": "ada@example.com", "role": "owner"}
    assert (await client.post(INVITES, json=body, headers=admin)).status == 403
    assert letters == []


async def test_v1_invites_to_one_project_only(
    client: Client, pool: Pool, member: Member, letters: list[Mapping[str, str]]
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
    assert letters[0]["link"].startswith("https://gateway.example/join?a=1&token=")
    who, headers = await person(pool, "ada@example.com")
    waiting = (await (await client.get("/v1/me/invitations", headers=headers)).json())["invitations"]
    assert [(one["projectId"], one["role"]) for one in waiting] == [(project["id"], "developer")]
    # An organization's link and a project's are not each other's.
    spent = {"token": token(letters[0])}
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
    client: Client, member: Member, letters: list[Mapping[str, str]], callback: str
) -> None:
    at = f"/v1/orgs/{member.organization_id}/invitations"
    refused = await client.post(at, json={"email": "ada@example.com", "callbackURL": callback})
    assert (refused.status, (await refused.json())["code"]) == (400, "validation_failed")
    assert letters == []


async def test_v1_org_invitations(
    client: Client, pool: Pool, member: Member, letters: list[Mapping[str, str]]
) -> None:
    at = f"/v1/orgs/{member.organization_id}/invitations"
    assert (await client.post(at, json={"email": "a@b.example", "role": "owner"})).status == 400
    made = (await (await client.post(at, json={"email": "ada@example.com"})).json())["invitation"]
    assert made["role"] == "developer"
    who, headers = await person(pool, "ada@example.com")
    body = {"token": token(letters[0])}
    accepted = await (await client.post("/v1/org-invitations/accept", json=body, headers=headers)).json()
    assert accepted["accepted"] is True
    assert await role_of(pool, member, who) == "editor"
    listed = (await (await client.get(at)).json())["invitations"]
    assert [(one["id"], one["acceptedAt"] is not None) for one in listed] == [(made["id"], True)]


async def test_the_token_is_stored_as_its_hash(
    client: Client, pool: Pool, letters: list[Mapping[str, str]]
) -> None:
    await invite(client)
    rows = await pool.fetch("SELECT invites::text AS everything FROM invites")
    assert token(letters[0]) not in str(rows)


async def test_invitations_of_others_are_not_found(client: Client, pool: Pool) -> None:
    other = await join(pool)
    made = await (await client.post(INVITES, json={"email": "ada@example.com"}, headers=other.headers)).json()
    assert (await client.delete(f"{INVITES}/{made['data']['id']}")).status == 404
