"""A project's branch is sold: from the project to the agent who pays for a query of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.postgres import connecting
from control.postgres.actions import HANDLERS
from control.postgres.running import Runner
from control.roles import base
from control.selling import checkup
from gateway.kit.crypto import Keyring
from tests.control.postgres.conftest import root
from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.paths.test_selling_queries import ROW, account, ask
from tests.waiting import until

__all__ = ["account", "root"]


@pytest.fixture(autouse=True)
async def computes(root: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalProvider]:
    """Before the product starts, which finds the provider itself in the place of its agent."""

    async def state(_: LocalProvider) -> str:
        return "ok"

    monkeypatch.setattr(LocalProvider, "state", state, raising=False)
    async with opened(root, look_seconds=3600) as provider:

        @asynccontextmanager
        async def computing(_: Any) -> AsyncIterator[LocalProvider]:
            yield provider

        monkeypatch.setattr(base, "computing", computing)
        yield provider
        await provider.stop_all()


@pytest.fixture
async def branch_id(farebox: Farebox, computes: LocalProvider) -> UUID:
    """Of the publisher's project, with a table to sell and another."""
    body = {"name": "Shop", "region": "local"}
    headers = farebox.publisher.headers
    reply = await farebox.agent.ask("POST", f"{farebox.origin}/projects", headers=headers, body=body)
    assert reply.status == 201, reply.text
    keys = farebox.settings.secrets.keys
    keyring = Keyring.parse([one.get_secret_value() for one in keys])
    # The worker does it too, if it comes first.
    await Runner(farebox.pool, computes, keyring, HANDLERS).drain()
    found: UUID = await farebox.pool.fetchval(
        "SELECT id FROM branches WHERE project_id = $1", UUID(reply.json["data"]["id"])
    )
    async with connecting.as_owner(farebox.pool, computes, keyring, found, "app") as owner:
        await owner.execute(
            "CREATE TABLE items AS SELECT n AS id FROM generate_series(1, 50) AS n;"
            "CREATE TABLE secrets AS SELECT 'xyzzy' AS word"
        )
    return found


async def sell(farebox: Farebox, branch: UUID, **more: Any) -> str:
    fields: dict[str, Any] = {
        "publisher_category": "database", "api_url": None, "price_per_call": None,
        "base_price_per_1000_rows": "1.00", "branch_id": str(branch),
        "database_config": {"tables": ["items"]},
    }  # fmt: skip
    return await farebox.publish(**{**fields, **more})


async def test_a_branch_is_sold_by_the_row(
    farebox: Farebox, account: Account, branch_id: UUID, computes: LocalProvider
) -> None:
    shop = await sell(farebox, branch_id)
    shown = (await farebox.agent.ask("GET", shop)).json["data"]
    assert [one["name"] for one in shown["database_config"]["tables"]] == ["items"]
    # Where it is, is between the publisher and us.
    assert not any(one in str(shown) for one in ("farebox_sells", str(branch_id)))
    body = {"publisher_id": shown["id"], "query": "SELECT id FROM items LIMIT 4"}
    estimate = await farebox.agent.ask("POST", f"{shop}/estimate", body=body)
    assert (estimate.status, estimate.json["estimated_rows"]) == (200, 4)
    # It sleeps, and is woken by whoever pays.
    endpoint_id = await farebox.pool.fetchval("SELECT id FROM endpoints WHERE branch_id = $1", branch_id)
    await computes.stop(str(endpoint_id))
    reply = await ask(farebox, account, shop, "SELECT id FROM items ORDER BY id LIMIT 3")
    assert (reply.status, reply.json["rows"]) == (200, [{"id": 1}, {"id": 2}, {"id": 3}])
    assert await farebox.spent(account, 20 * DOLLAR) == 3 * ROW
    for query in ("SELECT word FROM secrets", "INSERT INTO items VALUES (0)"):
        refused = await ask(farebox, account, shop, query)
        assert (refused.status, "xyzzy" in refused.text) == (400, False)
    body = {"query": "SELECT id FROM items LIMIT 5"}
    challenge = await farebox.agent.ask("POST", shop, body=body)
    paid = await farebox.agent.pay("POST", shop, challenge, body=body)
    assert (paid.status, paid.json["row_count"]) == (200, 5), paid.text
    await farebox.pool.execute("UPDATE endpoints SET is_disabled = true")
    gone = await ask(farebox, account, shop, "SELECT id FROM items LIMIT 3")
    assert (gone.status, gone.json["code"]) == (502, "upstream-unreachable")
    assert await farebox.spent(account, 20 * DOLLAR) == 3 * ROW
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == 5 * ROW


async def test_what_is_sold_of_a_branch_can_be_changed(
    farebox: Farebox, account: Account, branch_id: UUID
) -> None:
    shop = await sell(farebox, branch_id)
    shown = (await farebox.agent.ask("GET", shop)).json["data"]
    at = f"{farebox.origin}/organizations/default/publishers/{shown['id']}"

    async def change(body: dict[str, Any]) -> Any:
        return await farebox.agent.ask("PUT", at, headers=farebox.publisher.headers, body=body)

    assert (await change({"description": "Fresh items"})).json["data"]["database_config"]["tables"]
    # Whose it is then would be said nowhere.
    assert (await change({"branch_id": str(branch_id)})).status == 400
    changed = await change({"database_config": {"tables": ["public.secrets"]}})
    assert changed.status == 200, changed.text
    names = [one["name"] for one in changed.json["data"]["database_config"]["tables"]]
    assert names == ["secrets"]

    async def answered() -> tuple[int, int]:
        items = await ask(farebox, account, shop, "SELECT id FROM items LIMIT 1")
        return items.status, (await ask(farebox, account, shop, "SELECT word FROM secrets")).status

    async def is_known() -> bool:
        return await answered() == (400, 200)

    await until(is_known)


async def test_a_publisher_is_warned_of_tables_that_are_not_there(farebox: Farebox, branch_id: UUID) -> None:
    shop = await sell(farebox, branch_id)
    shown = (await farebox.agent.ask("GET", shop)).json["data"]
    at = f"{farebox.origin}/organizations/default/publishers/{shown['id']}"

    async def put(**body: Any) -> Any:
        reply = await farebox.agent.ask("PUT", at, headers=farebox.publisher.headers, body=body)
        assert reply.status == 200, reply.text
        return reply.json["data"]["warnings"]

    assert await put(database_config={"tables": ["items", "public.secrets"]}) is None
    (warning,) = await put(database_config={"tables": ["items", "itmes", "pg_catalog.pg_authid", "no.where"]})
    assert warning.endswith(": public.itmes, pg_catalog.pg_authid, no.where")
    (warning,) = await put(
        database_config={"tables": ["items"]}, branch_id=str(branch_id), database_name="nothing"
    )
    assert "no database nothing" in warning
    assert [one.remedy async for one in checkup.sellers(farebox.settings)] == [None]
    await farebox.pool.execute("UPDATE endpoints SET is_disabled = true")
    (told,) = [one async for one in checkup.sellers(farebox.settings)]
    assert (told.subject, bool(told.remedy)) == ("publisher shop", True)


NOBODYS = "00000000-0000-0000-0000-000000000001"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"branch_id": NOBODYS}, "body/branch_id"),
    ({"branch_id": None}, "body/branch_id"),
    ({"project_id": NOBODYS}, "body/branch_id"),
    ({"database_config": {"tables": []}}, "body/database_config/tables"),
    ({"database_config": {"tables": "items"}}, "body/database_config/tables"),
    ({"database_config": {"tables": ["items", 1]}}, "body/database_config/tables/1"),
    ({"database_config": {"tables": ["a.b.c"]}}, "body/database_config/tables/0"),
    ({"database_config": {"tables": ["items"], "connection_string": "x"}}, "body/database_config"),
    ({"database_type": "mongodb"}, "body/database_type"),
    ({"publisher_category": "integration"}, "body/database_config"),
]


async def test_what_is_wrong_with_a_branch_is_named(farebox: Farebox, branch_id: UUID) -> None:
    for more, pointer in WRONG:
        with pytest.raises(AssertionError, match=pointer):
            await sell(farebox, branch_id, **more)


async def test_a_branch_of_others_is_as_one_that_is_not_there(farebox: Farebox, branch_id: UUID) -> None:
    farebox.publisher = await farebox.sign_up()
    await farebox.fund(farebox.publisher, DOLLAR)
    with pytest.raises(AssertionError, match="body/branch_id"):
        await sell(farebox, branch_id)
