from uuid import uuid4

from tests.control.conftest import Client
from tests.control.databases import asked, created


async def test_operations_are_listed_newest_first(client: Client) -> None:
    project = await created(client)
    where = f"/projects/{project['id']}/operations"
    made = await asked(client, "POST", f"/projects/{project['id']}/branches", 201, name="dev")
    response = await client.get(where)
    told = await response.json()
    assert [one["action"] for one in told["data"]] == ["create_branch", "create_timeline"]
    assert told["pagination"]["total"] == 2
    shown = await asked(client, "GET", f"{where}/{made['operation_id']}")
    assert (shown["status"], shown["branch_id"]) == ("scheduling", made["branch"]["id"])
    await asked(client, "GET", f"{where}/{uuid4()}", 404)
    other = await created(client)
    await asked(client, "GET", f"/projects/{other['id']}/operations/{made['operation_id']}", 404)
