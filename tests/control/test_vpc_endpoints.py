from typing import Any
from uuid import uuid4

import pytest

from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, join

NEW = {"region": "eu-west-1", "endpoint_id": "vpce-0a1b2c", "label": "office"}


@pytest.fixture
async def project(client: Client) -> str:
    made = await client.post("/projects", json={"name": "shop", "region": "local"})
    return f"/projects/{(await made.json())['data']['id']}"


async def recorded(client: Client, **change: str) -> Any:
    made = await client.post("/organizations/default/vpc-endpoints", json=NEW | change)
    assert made.status == 201, await made.text()
    return (await made.json())["data"]


async def test_an_endpoint_is_found_by_every_path(client: Client, member: Member) -> None:
    one = await recorded(client)
    other = await recorded(client, region="us-east-1")
    assert (one["state"], one["organization_id"]) == ("new", member.organization_id)
    home = f"/organizations/{member.organization_id}"
    for path, found in [
        ("/vpc-endpoints", [one, other]),
        ("/vpc-endpoints?region=us-east-1", [other]),
        ("/vpc/vpc_endpoints", [one, other]),
        ("/vpc/region/eu-west-1/vpc_endpoints", [one]),
        ("/vpc/region/nowhere/vpc_endpoints", []),
    ]:
        assert await (await client.get(home + path)).json() == found, path
    for path in (f"/vpc-endpoints/{one['id']}", f"/vpc/region/eu-west-1/vpc_endpoints/{one['id']}"):
        assert (await (await client.get(home + path)).json())["data"] == one
    wrong = f"{home}/vpc/region/us-east-1/vpc_endpoints/{one['id']}"
    assert (await client.get(wrong)).status == 404
    assert (await client.delete(wrong)).status == 404
    assert (await client.delete(f"{home}/vpc/region/us-east-1/vpc_endpoints/{other['id']}")).status == 204
    assert (await client.delete(f"{home}/vpc-endpoints/{one['id']}")).status == 204
    assert (await client.delete(f"{home}/vpc-endpoints/{one['id']}")).status == 404
    assert await (await client.get(f"{home}/vpc-endpoints")).json() == []


async def test_what_is_refused_says_why(client: Client) -> None:
    await recorded(client)
    path = "/organizations/default/vpc-endpoints"
    twice = await client.post(path, json=NEW)
    assert (twice.status, (await twice.json())["code"]) == (409, "vpc-endpoint-recorded")
    for change in ({"region": ""}, {"endpoint_id": "a b"}, {"label": "\n"}, {"region": None}):
        assert (await client.post(path, json=NEW | change)).status == 400
    assert (await client.get(f"{path}?region=%00")).status == 400


async def test_an_assignment_is_made_and_taken_back_by_either_path(client: Client, project: str) -> None:
    vpc = await recorded(client)
    body = {"vpc_endpoint_id": vpc["id"], "label": "theirs"}
    made = await client.post(f"{project}/vpc-endpoints", json=body)
    assert made.status == 201
    assignment = (await made.json())["data"]
    assert assignment["organization_vpc_endpoint_id"] == vpc["id"]
    told = {name: assignment[name] for name in ("endpoint_id", "region", "endpoint_label", "label")}
    assert told == {
        "endpoint_id": "vpce-0a1b2c", "region": "eu-west-1", "endpoint_label": "office", "label": "theirs",
    }  # fmt: skip
    for path in ("vpc-endpoints", "vpc_endpoints"):
        assert await (await client.get(f"{project}/{path}")).json() == [assignment]
    again = await client.post(f"{project}/vpc_endpoints/{vpc['id']}")
    assert (again.status, (await again.json())["code"]) == (409, "vpc-endpoint-assigned")
    assert (await client.delete(f"{project}/vpc-endpoints/{assignment['id']}")).status == 204
    assert (await client.post(f"{project}/vpc_endpoints/{vpc['id']}")).status == 201
    assert (await client.delete(f"{project}/vpc_endpoints/{vpc['id']}")).status == 204
    assert (await client.delete(f"{project}/vpc_endpoints/{vpc['id']}")).status == 404
    assert (await client.post(f"{project}/vpc_endpoints/{uuid4()}")).status == 404
    # With its endpoint an assignment goes too.
    assert (await client.post(f"{project}/vpc_endpoints/{vpc['id']}")).status == 201
    assert (await client.delete(f"/organizations/default/vpc-endpoints/{vpc['id']}")).status == 204
    assert await (await client.get(f"{project}/vpc-endpoints")).json() == []


async def test_a_project_that_moved_shows_nothing_of_where_it_was(
    client: Client, pool: Pool, project: str
) -> None:
    vpc = await recorded(client)
    assert (await client.post(f"{project}/vpc_endpoints/{vpc['id']}")).status == 201
    there = await join(pool)
    await pool.execute("UPDATE projects SET organization_id = $1", there.id.organization_id)
    assert await (await client.get(f"{project}/vpc-endpoints", headers=there.headers)).json() == []


async def test_another_organizations_endpoint_is_as_absent_as_none(
    client: Client, pool: Pool, member: Member, project: str
) -> None:
    vpc = await recorded(client)
    stranger = (await join(pool)).headers
    home = f"/organizations/{member.organization_id}/vpc-endpoints"
    assert (await client.get(home, headers=stranger)).status == 404
    assert (await client.get(f"{home}/{vpc['id']}", headers=stranger)).status == 404
    mine = f"/organizations/default/vpc-endpoints/{vpc['id']}"
    assert (await client.delete(mine, headers=stranger)).status == 404
    made = await client.post("/projects", json={"name": "other", "region": "local"}, headers=stranger)
    theirs = f"/projects/{(await made.json())['data']['id']}"
    for path, body in (
        ("vpc-endpoints", {"vpc_endpoint_id": vpc["id"]}),
        (f"vpc_endpoints/{vpc['id']}", None),
    ):
        assert (await client.post(f"{theirs}/{path}", json=body, headers=stranger)).status == 404
    assert len(await (await client.get(home)).json()) == 1
