"""What the API changes inside a branch wakes it, as its clients do: not beyond the plan."""

from dataclasses import replace
from uuid import UUID

from pytest_aiohttp.plugin import AiohttpClient

from config.plans import Plan
from control import app
from control.postgres import spending
from tests.control.branched import Branch
from tests.control.branched import branch as branch
from tests.control.branched import computes as computes
from tests.control.branched import root as root
from tests.control.conftest import Member

SMALL = Plan(id="small", name="Small", quotas={"compute_seconds": 100})
REASON = "the plan Small has room for 100 compute_seconds, and they are used"
NOBODY = UUID(int=0)


async def test_a_branch_whose_compute_is_used_up_is_woken_by_no_operation(
    branch: Branch, member: Member, aiohttp_client: AiohttpClient
) -> None:
    await branch.pool.execute("UPDATE projects SET enable_logical_replication = true")
    settings = branch.ports.settings.model_copy(update={"plans": (SMALL,)})
    served = app.create(branch.pool, replace(branch.ports, settings=settings))
    narrow = replace(branch, client=await aiohttp_client(served, headers=member.headers))
    await narrow.got("POST", "/roles", {"name": "reader"})
    published = await narrow.got("POST", "/publications", {"name": "news"})
    slot = await narrow.got("POST", "/replication-slots", {"name": "reads"})
    await branch.pool.execute(
        "INSERT INTO meter_days (organization_id, project_id, meter, compute_units, day, quantity) "
        "SELECT organization_id, id, 'active_seconds', 1, (now() AT TIME ZONE 'UTC')::date, 100 FROM projects"
    )
    # What runs is changed, until it is stopped.
    await narrow.got("POST", "/databases", {"name": "books"})
    assert await spending.stop(branch.pool, branch.computes, (SMALL,)) == 1
    changes = [
        ("POST", "/roles", {"name": "writer"}),
        ("POST", "/roles/reader/reset_password", {"password": "correct horse"}),
        ("DELETE", "/roles/reader", None),
        ("POST", "/databases", {"name": "films"}),
        ("PUT", "/databases/books", {"owner_name": "reader"}),
        ("PATCH", "/databases/books", {"owner_name": "reader"}),
        ("DELETE", "/databases/books", None),
        ("POST", "/publications", {"name": "olds"}),
        ("PATCH", f"/publications/{published['id']}", {"publish_insert": False}),
        ("DELETE", f"/publications/{published['id']}", None),
        ("POST", "/replication-slots", {"name": "more"}),
        ("DELETE", f"/replication-slots/{slot['id']}", None),
    ]
    for method, path, body in changes:
        status, told = await narrow.ask(method, path, body)
        assert (method, path, status, told["code"]) == (method, path, 403, "quota-exceeded")
        assert told["detail"] == REASON
    assert await branch.pool.fetchval("SELECT status FROM endpoints") == "idle"
    assert await branch.pool.fetchval("SELECT count(*) FROM operations WHERE status <> 'finished'") == 0
    # A list wakes nothing, and what changes nothing neither.
    assert [one["name"] for one in await narrow.got("GET", "/roles")] == ["app", "reader"]
    assert (await narrow.got("PATCH", "/databases/books", {}))["name"] == "books"
    # A larger plan, and all of it goes on; another project's branch is as absent as ever.
    assert (await branch.got("DELETE", "/databases/books"))["name"] == "books"
    status, _ = await narrow.ask("POST", f"{branch.project}/branches/{NOBODY}/roles", {"name": "writer"})
    assert status == 404
