from uuid import uuid4

import pytest

from tests.control.branched import Branch
from tests.control.branched import branch as branch
from tests.control.branched import computes as computes
from tests.control.branched import root as root


@pytest.fixture
async def logical(branch: Branch) -> Branch:
    """With logical replication on, awake, and two tables."""
    settings = await branch.got("PATCH", f"{branch.project}/replication", {"enabled": True})
    assert settings == {
        "project_id": str(branch.project_id), "enabled": True, "publications_count": 0, "slots_count": 0,
    }  # fmt: skip
    async with branch.owner() as connection:
        assert await connection.fetchval("SHOW wal_level") == "logical"
        await connection.execute('CREATE TABLE orders (n int PRIMARY KEY); CREATE TABLE "Odd; name" (n int)')
        await connection.execute("CREATE SCHEMA sales; CREATE TABLE sales.leads (n int)")
    return branch


async def test_it_is_refused_while_logical_replication_is_off(branch: Branch) -> None:
    status, answer = await branch.ask("POST", "/publications", {"name": "all"})
    assert (status, answer["code"]) == (403, "logical-replication-off")
    assert await branch.got("GET", "/publications") == []


async def test_a_branch_has_its_parents_publications_before_anybody_woke_it(logical: Branch) -> None:
    await logical.got("POST", "/publications", {"name": "everything"})
    await logical.got("POST", "/publications", {"name": "some", "tables": ["orders"]})
    made = await logical.got("POST", f"{logical.project}/branches", {"name": "dev"})
    await logical.runner.drain()
    dev = f"{logical.project}/branches/{made['branch']['id']}"
    listed = await logical.got("GET", f"{dev}/publications")
    assert [(one["name"], one["tables"]) for one in listed] == [
        ("everything", []),
        ("some", ["public.orders"]),
    ]
    status = "SELECT status FROM endpoints WHERE branch_id = $1"
    assert await logical.pool.fetchval(status, made["branch"]["id"]) == "idle"
    # Reset gives it what its parent has by then.
    (everything, _) = await logical.got("GET", "/publications")
    await logical.got("DELETE", f"/publications/{everything['id']}")
    await logical.got("POST", f"{dev}/reset", {"parent": True})
    await logical.runner.drain()
    assert [one["name"] for one in await logical.got("GET", f"{dev}/publications")] == ["some"]


async def test_a_publication_is_what_postgres_has(logical: Branch) -> None:
    made = await logical.got("POST", "/publications", {"name": "everything", "publish_truncate": False})
    assert (made["tables"], made["database"], made["publish_truncate"]) == ([], "app", False)
    some = await logical.got(
        "POST", "/publications", {"name": 'so"me', "tables": ["ORDERS", '"Odd; name"', "sales.leads"]}
    )
    assert some["tables"] == ['public."Odd; name"', "public.orders", "sales.leads"]
    async with logical.owner() as connection:
        rows = await connection.fetch("SELECT * FROM pg_publication ORDER BY pubname")
        assert [(row["pubname"], row["puballtables"], row["pubtruncate"]) for row in rows] == [
            ("everything", True, False), ('so"me', False, True),
        ]  # fmt: skip
        # The owner of the database may change one of its tables.
        await connection.execute('ALTER PUBLICATION "so""me" DROP TABLE sales.leads')
    listed = await logical.got("GET", "/publications")
    assert [one["id"] for one in listed] == [made["id"], some["id"]]
    assert listed[1]["tables"] == ['public."Odd; name"', "public.orders"]
    path = f"/publications/{some['id']}"
    changed = await logical.got("PATCH", path, {"publish_update": False})
    assert (changed["publish_update"], changed["tables"]) == (False, listed[1]["tables"])
    whole = await logical.got("PATCH", path, {"tables": []})
    assert (whole["publish_update"], whole["tables"]) == (False, [])
    back = await logical.got("PATCH", path, {"tables": ["orders"], "publish_update": None})
    assert (back["publish_update"], back["tables"]) == (False, ["public.orders"])
    async with logical.owner() as connection:
        row = await connection.fetchrow("SELECT * FROM pg_publication WHERE pubname = 'so\"me'")
        assert row is not None
        assert (row["puballtables"], row["pubupdate"], row["pubinsert"]) == (False, False, True)
    await logical.got("DELETE", path)
    await logical.sleep()
    # Asleep it says the same, and sleeps on.
    assert [one["name"] for one in await logical.got("GET", "/publications")] == ["everything"]
    assert (await logical.computes.status(str(logical.endpoint_id))).state == "idle"


async def test_what_is_refused_says_why(logical: Branch) -> None:
    await logical.got("POST", "/publications", {"name": "everything"})
    for method, path, body, status, code in [
        ("POST", "/publications", {"name": "everything"}, 400, "publication-exists"),
        ("POST", "/publications", {"name": "x", "tables": ["nothing"]}, 400, "invalid-request"),
        ("POST", "/publications", {"name": "x", "tables": ["a.b.c"]}, 400, "invalid-request"),
        ("POST", "/publications", {"name": "x", "tables": ["or ders"]}, 400, "invalid-request"),
        ("POST", "/publications", {"name": "x", "tables": ["pg_catalog.pg_authid"]}, 400, "invalid-request"),
        ("POST", "/publications", {"name": "x", "database": "nothing"}, 400, "invalid-request"),
        ("POST", "/publications", {"name": "x" * 64}, 400, "invalid-request"),
        ("PATCH", f"/publications/{uuid4()}", {}, 404, "not-found"),
        ("DELETE", f"/publications/{uuid4()}", None, 404, "not-found"),
    ]:
        found, answer = await logical.ask(method, path, body)
        assert (found, answer["code"]) == (status, code), (method, path, answer)
    assert [one["name"] for one in await logical.got("GET", "/publications")] == ["everything"]


async def test_those_of_other_databases_are_listed_and_go_with_them(logical: Branch) -> None:
    await logical.got("POST", "/databases", {"name": "shop"})
    await logical.got("POST", "/publications", {"name": "theirs", "database": "shop"})
    async with logical.owner() as connection:
        await connection.execute("CREATE PUBLICATION mine FOR TABLE orders")
    listed = await logical.got("GET", "/publications")
    assert [(one["database"], one["name"]) for one in listed] == [("shop", "theirs"), ("app", "mine")]
    await logical.got("DELETE", "/databases/shop")
    assert [one["name"] for one in await logical.got("GET", "/publications")] == ["mine"]
