import asyncio
from typing import Any

import pytest

from control.identity import people
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer, join, refused_fields
from tests.control.test_members import colleague


async def create(client: Client, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/projects", json={"name": "Notes", **body})
    made: dict[str, Any] = (await response.json())["project"]
    assert response.status == 201, made
    return made


async def issue(client: Client, project: dict[str, Any], **body: Any) -> dict[str, Any]:
    response = await client.post(f"/v1/projects/{project['id']}/api-keys", json={"name": "k", **body})
    made: dict[str, Any] = await response.json()
    assert response.status == 201, made
    return made


def using(issued: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {issued['plaintext']}"}


async def test_a_project_is_one_row_seen_through_both(client: Client, member: Member) -> None:
    body = {"name": "Notes", "region": "local", "hipaa": True, "compute_unit_max": 4}
    response = await client.post("/projects", json=body)
    made = (await response.json())["data"]
    assert (response.status, made["hipaa"], made["compute_unit_max"]) == (201, True, 4)
    (listed,) = (await (await client.get("/v1/projects")).json())["projects"]
    assert listed["id"].startswith("p_01")
    assert listed["orgPersonal"] is True
    renamed = await client.patch(f"/v1/projects/{listed['id']}", json={"name": "Other", "slug": "other"})
    assert (await renamed.json())["project"]["slug"] == "other"
    root = (await (await client.get(f"/projects/{made['id']}")).json())["data"]
    assert (root["name"], root["organization_id"]) == ("Other", member.organization_id)
    # Either spelling is understood.
    for either in (made["id"], listed["id"]):
        assert (await client.get(f"/v1/projects/{either}")).status == 200
        assert (await client.get(f"/projects/{either}")).status == 200
        assert (await client.patch(f"/projects/{either}", json={"hipaa": True})).status == 200
        hook = {"name": "h", "url": "http://127.0.0.1:9/", "events": ["*"], "project_id": either}
        heard = await (await client.post("/organizations/default/webhooks", json=hook)).json()
        assert heard["data"]["webhook"]["project_id"] == made["id"]
    assert (await client.get("/projects/p_nonsense")).status == 404
    page = (await (await client.get("/projects")).json())["pagination"]
    assert (page["total"], page["limit"]) == (1, 20)


async def test_a_deleted_project_is_gone_for_both(client: Client) -> None:
    project = await create(client, slug="mine")
    issued = await issue(client, project)
    deleted = (await (await client.delete(f"/v1/projects/{project['id']}")).json())["project"]
    assert deleted["deletedAt"] is not None
    for path in (f"/v1/projects/{project['id']}", f"/projects/{project['id']}"):
        assert (await client.get(path)).status == 404
        assert (await client.delete(path)).status == 404
    info = await client.get(f"/v1/projects/{project['id']}/info", headers=using(issued))
    assert info.status == 401
    await create(client, slug="mine")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "slug": "taken"}, 409),
        ({"name": "x", "slug": "Not a slug"}, 400),
        ({"name": ""}, 400),
        ({"name": "x" * 81}, 400),
        ({"name": "x", "orgId": "org_00000000000000000000000000"}, 404),
        ({"name": "x", "orgId": "p_00000000000000000000000000"}, 400),
        ({"name": "x", "surprise": 1}, 400),
    ],
)
async def test_a_project_that_cannot_be(client: Client, body: dict[str, Any], status: int) -> None:
    await create(client, slug="taken")
    assert (await client.post("/v1/projects", json=body)).status == status


@pytest.mark.parametrize(
    "change",
    [{"compute_unit_min": 5}, {"enable_logical_replication": False}, {"history_retention_seconds": 1}],
)
async def test_settings_that_contradict_each_other_are_400(client: Client, change: dict[str, Any]) -> None:
    body = {"name": "N", "region": "local", "enable_logical_replication": True}
    made = (await (await client.post("/projects", json=body)).json())["data"]
    assert (await client.patch(f"/projects/{made['id']}", json=change)).status == 400
    assert (await client.post("/projects", json={**body, "compute_unit_min": 2})).status == 400


async def test_two_projects_never_share_a_slug(client: Client) -> None:
    answers = await asyncio.gather(
        *(client.post("/v1/projects", json={"name": "x", "slug": "wanted"}) for _ in range(5))
    )
    assert sorted(one.status for one in answers) == [201, 409, 409, 409, 409]


async def test_projects_of_others_are_not_found(client: Client, pool: Pool) -> None:
    project = await create(client)
    other = await join(pool)
    for path in (f"/v1/projects/{project['id']}", f"/v1/projects/{project['id']}/api-keys"):
        foreign = await client.get(path, headers=other.headers)
        unknown = await client.get(path.replace(project["id"], "p_01ZZZZZZZZZZZZZZZZZZZZZZZZ"))
        assert (foreign.status, unknown.status) == (404, 404)
    assert (await (await client.get("/v1/projects", headers=other.headers)).json())["projects"] == []


async def test_a_project_key_acts_in_its_project_only(client: Client, pool: Pool, member: Member) -> None:
    project, other = await create(client), await create(client)
    issued = await issue(client, project, role="viewer")
    key = issued["plaintext"]
    assert (key[:4], len(key), key[-4:]) == ("brk_", 47, issued["key"]["suffix"])
    headers = using(issued)
    info = await (await client.get(f"/v1/projects/{project['id']}/info", headers=headers)).json()
    assert info.items() >= {
        "projectId": project["id"], "authenticatedVia": "api_key", "apiKeyId": issued["key"]["id"],
        "userId": member.id.user_id.hex, "role": "viewer",
    }.items()  # fmt: skip
    # Programs in browsers have such a key: it names nobody's mailbox.
    await pool.execute("UPDATE users SET email = 'ada@example.com'")
    told = [(await (await client.get("/auth/me", headers=one)).json())["data"] for one in ({}, headers)]
    assert [one["email"] for one in told] == ["ada@example.com", ""]
    at = f"/v1/projects/{project['id']}"
    assert (await client.patch(at, json={"name": "x"}, headers=headers)).status == 403
    assert (await client.get(f"/v1/projects/{other['id']}", headers=headers)).status == 404
    for path in ("/wallet/balance", "/organizations", "/v1/projects", "/organizations/default/members"):
        assert (await client.get(path, headers=headers)).status == 403
    assert (
        await client.get(f"/organizations/{member.organization_id}/members", headers=headers)
    ).status == 403


async def test_a_project_key_is_listed_renamed_and_revoked(client: Client) -> None:
    project = await create(client)
    issued = await issue(client, project, scope="developer", expiresInDays=3)
    at = f"/v1/projects/{project['id']}/api-keys"
    one = f"{at}/{issued['key']['id']}"
    assert await (await client.patch(one, json={"name": "ci"})).json() == {
        "keyId": issued["key"]["id"], "name": "ci",
    }  # fmt: skip
    (listed,) = (await (await client.get(at)).json())["keys"]
    assert (listed["name"], listed["role"], listed["revokedAt"]) == ("ci", "developer", None)
    for _ in range(2):
        assert await (await client.delete(one)).json() == {"revoked": issued["key"]["id"]}
    assert (await client.get(f"/v1/projects/{project['id']}/info", headers=using(issued))).status == 401
    assert (await client.delete(f"{at}/k_00000000000000000000000000")).status == 404
    # The organization's own list does not have it: it acts for the project.
    assert issued["key"]["name"] not in [
        key["name"] for key in (await (await client.get("/organizations/default/api-keys")).json())["data"]
    ]


async def test_a_project_key_is_no_more_than_its_maker(client: Client, pool: Pool, member: Member) -> None:
    project = await create(client)
    developer = await issue(client, project, role="developer")
    at = f"/v1/projects/{project['id']}/api-keys"
    assert (await client.post(at, json={"name": "k"}, headers=using(developer))).status == 403
    assert (await client.post(at, json={"name": "k", "role": "owner"})).status == 400


async def test_a_project_keys_role_has_two_names_and_one_value(client: Client) -> None:
    project = await create(client)
    assert (await issue(client, project, scope="viewer"))["key"]["role"] == "viewer"
    assert (await issue(client, project, scope="viewer", role="viewer"))["key"]["role"] == "viewer"
    at = f"/v1/projects/{project['id']}/api-keys"
    refused = await client.post(at, json={"name": "k", "scope": "viewer", "role": "admin"})
    assert await refused_fields(refused) == ["body/scope"]


async def test_whoever_was_invited_to_a_project_is_nothing_outside_of_it(
    client: Client, pool: Pool, member: Member
) -> None:
    project = (await (await client.post("/projects", json={"name": "N", "region": "local"})).json())["data"]
    guest = await people.create(pool, "person", "Guest", None)
    await pool.execute(
        "INSERT INTO project_members (project_id, user_id, role) VALUES ($1, $2, 'admin')",
        project["id"],
        guest.user_id,
    )
    # The guest's own key acts in the guest's own organization, a key of the project in the project.
    own = await bearer(pool, guest)
    assert (await client.get(f"/v1/projects/{project['id']}", headers=own)).status == 404


async def test_a_moved_project_leaves_its_keys_behind(client: Client, pool: Pool, member: Member) -> None:
    """A key moves nothing out of its organization."""
    project = await create(client)
    team = await (await client.post("/v1/orgs", json={"name": "Team"})).json()
    moved = await client.post(f"/v1/projects/{project['id']}/move", json={"orgId": team["org"]["id"]})
    assert moved.status == 404
    # In the spelling that was sent.
    assert (await moved.json())["message"] == f"no organization {team['org']['id']} of yours"
    late = await client.post("/v1/projects", json={"name": "late", "orgId": team["org"]["id"]})
    assert (late.status, team["org"]["id"] in (await late.json())["message"]) == (404, True)
    same = await client.post(f"/v1/projects/{project['id']}/move", json={"orgId": project["orgId"]})
    assert (await same.json())["project"]["orgId"] == project["orgId"]


async def test_an_organization_with_a_project_is_not_deleted(
    client: Client, pool: Pool, member: Member
) -> None:
    await pool.execute("UPDATE organizations SET is_personal = false")
    project = await create(client)
    at = f"/v1/orgs/{project['orgId']}"
    refused = await client.delete(at)
    said = await refused.json()
    assert (refused.status, said["code"], said["message"]) == (
        400,
        "cannot_delete_org",
        "it still has projects",
    )
    await client.delete(f"/v1/projects/{project['id']}")
    made, deleted = await asyncio.gather(
        client.post("/v1/projects", json={"name": "late"}), client.delete(at)
    )
    assert (made.status, deleted.status) in {(201, 400), (404, 200), (401, 200)}


async def test_viewers_make_no_projects(client: Client, pool: Pool, member: Member) -> None:
    _, viewer = await colleague(pool, member, "viewer")
    assert (await client.post("/v1/projects", json={"name": "x"}, headers=viewer)).status == 403
