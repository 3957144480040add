"""Stories of queries that are sold: told by the caller, checked in the ledger."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientError

from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.paths.selling import Seller
from tests.paths.selling import seller as seller
from tests.paths.selling import shop_server as shop_server
from tests.paths.test_pay_command import key_of, typed

ROW = DOLLAR // 1000


@pytest.fixture
async def account(farebox: Farebox) -> Account:
    account = await farebox.sign_up()
    await farebox.fund(account, 20 * DOLLAR)
    return account


async def ask(farebox: Farebox, account: Account, shop: str, query: str, *params: Any, **headers: str) -> Any:
    body = {"query": query, "params": list(params)}
    return await farebox.agent.ask("POST", shop, headers={**account.headers, **headers}, body=body)


async def test_what_is_returned_is_what_is_paid(farebox: Farebox, account: Account, seller: Seller) -> None:
    shop = await seller.sell(farebox)
    cost = 0
    for query, params, count in [
        ("SELECT id, name FROM items ORDER BY id LIMIT 3", (), 3),
        ("SELECT id FROM items WHERE id < $1", (11,), 10),
        ("SELECT id FROM items WHERE id < 0", (), 0),
        ("SELECT id FROM items WHERE id = ANY($1) ORDER BY id", ([1, 2],), 2),
        ("WITH a AS (SELECT id FROM items) SELECT * FROM a LIMIT 7", (), 7),
        ("VALUES (1), (2)", (), 2),
        ("SELECT id FROM items", (), 5000),
    ]:
        reply = await ask(farebox, account, shop, query, *params)
        assert reply.status == 200, reply.text
        assert (len(reply.json["rows"]), reply.json["row_count"], reply.json["truncated"]) == (
            count,
            count,
            False,
        )
        cost += count * ROW
        assert await farebox.spent(account, 20 * DOLLAR) == cost, query
    reply = await ask(farebox, account, shop, "SELECT id, name FROM items ORDER BY id LIMIT 1")
    assert reply.json["columns"] == [{"name": "id", "type": "int4"}, {"name": "name", "type": "text"}]
    assert reply.json["rows"] == [{"id": 1, "name": "item 1"}]
    assert reply.headers["X-Row-Limit"] == "1"


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO items VALUES (0, 'x')",
        "SELECT 1; SELECT 2",
        "COPY items TO STDOUT",
        "DO $$ BEGIN END $$",
        "WITH a AS (DELETE FROM items RETURNING *) SELECT * FROM a",
        "SELECT * FROM items FOR UPDATE",
        "SELECT set_config('statement_timeout', '0', false)",
        "SELECT pg_catalog.pg_sleep(1)",
        "SELECT query_to_xml('SELECT 1', true, true, '')",
        "SELECT query FROM pg_stat_activity",
        "SELECT * FROM information_schema.tables",
        "SELECT CURRENT_USER",
        "SELECT user",
        "SELECT 'secrets'::regclass",
        "SELECT inet_server_addr()",
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "SELECT touch()",  # the transaction cannot write
        "SELECT word FROM secrets",
        "SELECT nothing FROM items",
        "SELECT FROM",
        "SELECT name::int FROM items",
        "SELECT 1 / (id - 1) FROM items",
        "SELECT '\x00'",
        "",
    ],
)
async def test_what_is_refused_costs_nothing(
    farebox: Farebox, account: Account, seller: Seller, query: str
) -> None:
    shop = await seller.sell(farebox)
    reply = await ask(farebox, account, shop, query)
    assert reply.status == 400, reply.text
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    # Neither a value nor where the database is.
    assert not any(word in reply.text for word in ("xyzzy", "item 1", "127.0.0.1", "shop_reader"))
    assert await farebox.spent(account, 20 * DOLLAR) == 0
    assert await seller.admin.fetchval("SELECT count(*) FROM items") == 5000


async def test_what_may_not_be_read_is_as_what_is_not_there(
    farebox: Farebox, account: Account, seller: Seller
) -> None:
    shop = await seller.sell(farebox)
    hidden = await ask(farebox, account, shop, "SELECT word FROM secrets")
    absent = await ask(farebox, account, shop, "SELECT word FROM nothing_there")
    assert hidden.json == absent.json
    assert hidden.json["sqlstate"] == "42P01"


async def test_a_payer_gets_the_rows_that_were_paid_for(farebox: Farebox, seller: Seller) -> None:
    shop = await seller.sell(farebox)
    for query, asked, count in [
        ("SELECT id FROM items LIMIT 20", 20 * ROW, 20),
        ("SELECT count(*) FROM items", ROW, 1),
        # Without a limit of its own a statement has ours, and that is its price; fewer cost no less.
        ("SELECT id FROM items WHERE id < 3", 10_000 * ROW, 2),
    ]:
        challenge = await farebox.agent.ask("POST", shop, body={"query": query})
        assert challenge.status == 402, challenge.text
        assert {int(one["amount"]) for one in challenge.json["accepts"] if "amount" in one} <= {asked}
        if asked > DOLLAR:
            continue
        paid = await farebox.agent.pay("POST", shop, challenge, body={"query": query})
        assert paid.status == 200, paid.text
        assert len(paid.json["rows"]) == count
    charged = "SELECT rail, cost FROM usage_events WHERE outcome = 'charged' ORDER BY cost"
    assert [tuple(row) for row in await farebox.pool.fetch(charged)] == [("x402", ROW), ("x402", 20 * ROW)]
    assert await farebox.is_sound()


async def test_a_payment_for_a_query_that_fails_is_not_taken(farebox: Farebox, seller: Seller) -> None:
    shop = await seller.sell(farebox)
    body = {"query": "SELECT 1 / (id - 1) FROM items LIMIT 5"}
    challenge = await farebox.agent.ask("POST", shop, body=body)
    failed = await farebox.agent.pay("POST", shop, challenge, body=body)
    assert (failed.status, failed.json["code"]) == (400, "query-failed")
    assert await farebox.pool.fetchval("SELECT count(*) FROM usage_events WHERE outcome = 'charged'") == 0
    assert await farebox.is_sound()


@pytest.mark.parametrize(
    ("prices", "query", "cost"),
    [
        ({"price_per_call": "0.01"}, "SELECT id FROM items LIMIT 5", 10_000 + 5 * ROW),
        ({"markup_multiplier": "1.5"}, "SELECT id FROM items LIMIT 3", 4_500),
        ({"base_price_per_1000_rows": "0.0001"}, "SELECT id FROM items LIMIT 15", 2),  # rounded up once
        ({"base_price_per_1000_rows": "", "price_per_call": "0.02"}, "SELECT id FROM items", 20_000),
    ],
)
async def test_a_query_costs_its_call_and_its_rows(
    farebox: Farebox, account: Account, seller: Seller, prices: dict[str, Any], query: str, cost: int
) -> None:
    shop = await seller.sell(farebox, **prices)
    listed = await farebox.agent.ask("GET", shop)
    assert seller.dsn() not in listed.text
    assert "127.0.0.1" not in listed.text
    body = {"publisher_id": listed.json["data"]["id"], "query": query}
    estimate = await farebox.agent.ask("POST", f"{shop}/estimate", body=body)
    assert (estimate.status, estimate.json["estimated_cost_atomic"]) == (200, cost), estimate.text
    reply = await ask(farebox, account, shop, query)
    assert reply.status == 200, reply.text
    assert await farebox.spent(account, 20 * DOLLAR) == cost


async def test_an_estimate_is_the_planners_and_tells_no_plan(farebox: Farebox, seller: Seller) -> None:
    shop = await seller.sell(farebox)
    publisher_id = (await farebox.agent.ask("GET", shop)).json["data"]["id"]

    async def estimate(query: str, **more: Any) -> Any:
        body = {"publisher_id": publisher_id, "query": query, **more}
        return await farebox.agent.ask("POST", f"{shop}/estimate", body=body)

    found = await estimate("SELECT * FROM items")
    assert (found.status, found.json) == (
        200,
        {
            "publisher_name": "shop",
            "publisher_slug": "shop",
            "estimated_rows": 5000,
            "estimated_cost": "5",
            "estimated_cost_atomic": 5 * DOLLAR,
            "asset_symbol": farebox.asset.symbol,
        },
    )
    assert (await estimate("SELECT * FROM items WHERE id = 1")).json["estimated_rows"] == 1
    # The last has a parameter, and an estimate no values.
    for query in (
        "DELETE FROM items",
        "SELECT word FROM secrets",
        "SELECT 1 / 0",
        "SELECT pg_sleep(1)",
        "SELECT $1::int",
    ):
        assert (await estimate(query)).status == 400
    assert (await estimate("SELECT 1", publisher_id=str(farebox.asset.id))).status == 404


@pytest.mark.parametrize("source", ["FAREBOX_API_KEY", "FAREBOX_PAY_KEY"])
async def test_the_pay_command_buys_a_query(
    farebox: Farebox, account: Account, seller: Seller, source: str
) -> None:
    shop = await seller.sell(farebox)
    key = account.key if source == "FAREBOX_API_KEY" else key_of(farebox)
    sql = "SELECT id, $2::text AS word, $3::numeric AS n FROM items WHERE id > $1 ORDER BY id LIMIT 2"
    words = ["--query", sql, "--param", "7", "--param", "seven", "--param", "0.10000000000000001"]
    dry = await typed(shop, *words, "--dry-run", **{source: key})
    assert (dry.result.exit_code, dry.out) == (0, ""), dry.err
    assert "price: 0.002 TUSD" in dry.err
    done = await typed(shop, *words, "--max-price", "0.002", **{source: key})
    assert done.result.exit_code == 0, done.err
    assert json.loads(done.out.splitlines()[-1])["rows"] == [
        {"id": 8, "word": "seven", "n": "0.10000000000000001"},
        {"id": 9, "word": "seven", "n": "0.10000000000000001"},
    ]
    assert await farebox.spent(account, 20 * DOLLAR) == (2 * ROW if source == "FAREBOX_API_KEY" else 0)


async def test_the_store_says_what_there_is_to_query(
    farebox: Farebox, account: Account, seller: Seller
) -> None:
    shop = await seller.sell(farebox)
    shown = (await farebox.agent.ask("GET", shop)).json["data"]["database_config"]
    assert shown == {
        "tables": [
            {
                "name": "items",
                "description": "What the shop has",
                "columns": [
                    {"name": "id", "type": "integer", "description": None},
                    {"name": "name", "type": "text", "description": "As on the label"},
                ],
            },
        ],
        "is_complete": True,
        "example": {"query": "SELECT id, name FROM items LIMIT 10"},
    }
    reply = await ask(farebox, account, shop, shown["example"]["query"])
    assert (reply.status, reply.json["row_count"]) == (200, 10)
    listed = await farebox.agent.ask("GET", f"{farebox.origin}/.well-known/x402")
    assert listed.json["resources"] == [shop]


async def test_a_database_that_dies_amid_a_result(farebox: Farebox, account: Account, seller: Seller) -> None:
    shop = await seller.sell(farebox)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_reader'"
    # Before there is an answer: nothing is charged.
    asking = asyncio.gather(ask(farebox, account, shop, "SELECT count(*) FROM items a, items b, items c"))
    await asyncio.sleep(1)
    await seller.admin.execute(kill)
    (reply,) = await asking
    assert (reply.status, reply.json["code"]) == (502, "query-lost")
    assert await farebox.spent(account, 20 * DOLLAR) == 0
    # After it: what was passed on is paid for, and does not look whole.
    body = {"query": "SELECT id, repeat('x', 100000) FROM items LIMIT 2000"}
    headers = {**account.headers, "Accept": "application/x-ndjson"}
    async with farebox.session.post(shop, json=body, headers=headers) as response:
        assert response.status == 200
        await seller.admin.execute(kill)
        with pytest.raises((ConnectionError, ClientError)):
            await response.read()
    cost = await farebox.spent(account, 20 * DOLLAR)
    assert 0 < cost < 2000 * ROW
    assert (await ask(farebox, account, shop, "SELECT 1 AS one")).status == 200


async def test_whoever_hangs_up_pays_for_what_arrived(
    farebox: Farebox, account: Account, seller: Seller
) -> None:
    shop = await seller.sell(farebox)
    body = {"query": "SELECT id, repeat('x', 100000) FROM items LIMIT 2000"}
    response = await farebox.session.post(shop, json=body, headers=account.headers)
    assert response.status == 200
    response.close()
    cost = await farebox.spent(account, 20 * DOLLAR)
    assert 0 < cost < 2000 * ROW


async def test_a_query_comes_again_by_its_key(farebox: Farebox, account: Account, seller: Seller) -> None:
    shop = await seller.sell(farebox)
    headers = {"Idempotency-Key": "q1"}
    first = await ask(farebox, account, shop, "SELECT random() AS r", **headers)
    again = await ask(farebox, account, shop, "SELECT random() AS r", **headers)
    assert (first.status, again.status, again.text) == (200, 200, first.text)
    other = await ask(farebox, account, shop, "SELECT 2 AS r", **headers)
    assert other.status == 409
    assert await farebox.spent(account, 20 * DOLLAR) == ROW


@pytest.mark.parametrize("path", ["/x", "/items/1", "/estimate/x"])
async def test_nothing_else_is_sold_of_a_database(
    farebox: Farebox, account: Account, seller: Seller, path: str
) -> None:
    shop = await seller.sell(farebox)
    for method in ("GET", "POST", "DELETE"):
        reply = await farebox.agent.ask(method, f"{shop}{path}", headers=account.headers)
        assert reply.status == 404, reply.text
    for body in (
        b"",
        b"[]",
        b"{",
        b'{"query": 1}',
        b'{"query": "SELECT 1", "database": "other"}',
        b"[" * 9999,
    ):
        async with farebox.session.post(shop, data=body, headers=account.headers) as response:
            assert response.status == 400, await response.text()
    assert await farebox.spent(account, 20 * DOLLAR) == 0
