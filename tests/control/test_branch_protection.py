import pytest

from gateway.kit.sql import Pool
from tests.control.conftest import Client
from tests.control.databases import Json, asked, created


@pytest.fixture
async def project(client: Client) -> Json:
    return await created(client)


async def test_a_protected_branch_stays_as_it_is(client: Client, project: Json) -> None:
    made = await asked(client, "POST", f"/projects/{project['id']}/branches", 201, name="dev", protected=True)
    where = f"/projects/{project['id']}/branches/{made['branch']['id']}"
    (rule,) = await asked(client, "GET", f"/projects/{project['id']}/branch-protection")
    assert (rule["prevent_deletion"], rule["prevent_reset"], rule["allowed_bypass_roles"]) == (True, True, [])
    refused = [
        ("DELETE", "", {}),
        ("POST", "/reset", {"parent": True}),
        ("POST", "/restore", {"source": {"type": "^parent"}, "preserve_under_name": "x"}),
        ("PATCH", "/archived", {"archived": True}),
        ("PATCH", "/expiration", {"expires_at": "2099-01-01T00:00:00Z"}),
        ("DELETE", f"/endpoints/{made['endpoints'][0]['id']}", {}),
    ]
    for method, rest, body in refused:
        told = await asked(client, method, where + rest, 409, **body)  # type: ignore[arg-type]
        assert told["code"] == "branch-protected", rest
    await asked(client, "PATCH", where, name="renamed")
    await asked(client, "PATCH", f"{where}/protection", require_approval_for_changes=True)
    await asked(client, "PATCH", where, 409, name="again")
    changed = await asked(client, "PATCH", f"{where}/protection", prevent_reset=False)
    assert (changed["prevent_deletion"], changed["prevent_reset"]) == (True, False)
    await asked(client, "POST", f"{where}/reset", parent=True)
    await asked(client, "DELETE", f"{where}/protection", 204)
    await asked(client, "DELETE", f"{where}/protection", 404)
    assert not (await asked(client, "GET", where))["protected"]


async def test_a_rule_is_made_once_and_roles_bypass_it(client: Client, project: Json, pool: Pool) -> None:
    where = f"/projects/{project['id']}/branches/{project['default_branch_id']}"
    await asked(client, "GET", f"{where}/protection", 404)
    body = {"require_approval_for_changes": True, "allowed_bypass_roles": ["admin"]}
    await asked(client, "POST", f"{where}/protection", 201, **body)
    await asked(client, "POST", f"{where}/protection", 409)
    assert (await asked(client, "GET", where))["protected"]
    await asked(client, "DELETE", f"/projects/{project['id']}", 409)
    await asked(client, "PATCH", where, 409, name="trunk")
    await asked(client, "PATCH", f"{where}/protection", allowed_bypass_roles=["owner"])
    assert (await asked(client, "PATCH", where, name="trunk"))["name"] == "trunk"
    await asked(client, "DELETE", f"/projects/{project['id']}")
