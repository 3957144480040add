"""Stories of queries that are sold: told by the caller, checked in the ledger."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.paths.conftest import DOLLAR, Account, Farebox, until
from tests.paths.selling import Seller, administered, selling

ROW = DOLLAR // 1000


@pytest.fixture(scope="module")
def shop_server() -> Iterator[tuple[str, int]]:
    with selling() as where:
        yield where


@pytest.fixture
async def seller(shop_server: tuple[str, int]) -> AsyncIterator[Seller]:
    async with administered(*shop_server) as seller:
        yield seller


@pytest.fixture
async def account(farebox: Farebox) -> Account:
    account = await farebox.sign_up()
    await farebox.fund(account, 20 * DOLLAR)
    return account


async def spent(farebox: Farebox, account: Account) -> int:
    async def is_closed() -> bool:
        return bool(await farebox.pool.fetchval("SELECT count(*) = 0 FROM holds WHERE state = 'open'"))

    await until(is_closed)
    assert await farebox.is_sound()
    return int(20 * DOLLAR - await farebox.balance(account))


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
        assert await spent(farebox, account) == cost, query
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
    assert await spent(farebox, account) == 0
    assert await seller.admin.fetchval("SELECT count(*) FROM items") == 5000


async def test_what_may_not_be_read_is_as_what_is_not_there(
    farebox: Farebox, account: Account, seller: Seller
) -> None:
    shop = await seller.sell(farebox)
    hidden = await ask(farebox, account, shop, "SELECT word FROM secrets")
    absent = await ask(farebox, account, shop, "SELECT word FROM nothing_there")
    assert hidden.json == absent.json
    assert hidden.json["sqlstate"] == "42P01"


async def test_types_are_those_of_json(farebox: Farebox, account: Account, seller: Seller) -> None:
    shop = await seller.sell(farebox)
    query = """
        SELECT true AS b, 1.50::numeric AS n, 9007199254740993::int8 AS i, 0.1::float8 AS f,
            'NaN'::float8 AS nan,
            '\\x00ff'::bytea AS raw, '{"a":
                [1]}'::json AS j, ARRAY['a"b', NULL, 'c,d'] AS texts, ARRAY[[1,2],[3,4]] AS grid,
            timestamptz '2026-01-02 03:04:05.5+01' AS at, timestamp '2026-01-02 03:04:05' AS t,
            date '2026-01-02' AS d,
            interval '1 day 2 hours' AS span, NULL AS none, '' AS empty, 1 AS b, $1::jsonb AS doc,
            $2::numeric AS big,
            $3::text[] AS list, $4::bool AS flag"""
    params = ({"k": [1, None]}, 12345678901234567, ["x\\", '"', None], True)
    reply = await ask(farebox, account, shop, query, *params)
    assert reply.status == 200, reply.text
    (row,) = json.loads(reply.text, parse_float=str)["rows"]
    assert row == {
        "b": True, "n": "1.50", "i": 9007199254740993, "f": "0.1", "nan": "NaN", "raw": "AP8=",
        "j": {"a": [1]},
        "texts": ['a"b', None, "c,d"], "grid": [[1, 2], [3, 4]], "at": "2026-01-02T02:04:05.5Z",
        "t": "2026-01-02T03:04:05", "d": "2026-01-02", "span": "P1DT2H", "none": None, "empty": "", "b_2": 1,
        "doc": {"k": [1, None]}, "big": "12345678901234567", "list": ["x\\", '"', None], "flag": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("accept", "content_type", "text"),
    [
        ("application/x-ndjson", "application/x-ndjson", '{"a":1,"b":null}\n{"a":2,"b":"x,\\"y"}\n'),
        ("text/csv, */*;q=0.1", "text/csv; charset=utf-8", 'a,b\r\n1,\r\n2,"x,""y"\r\n'),
    ],
)
async def test_a_result_has_the_form_that_is_asked_for(
    farebox: Farebox, account: Account, seller: Seller, accept: str, content_type: str, text: str
) -> None:
    shop = await seller.sell(farebox)
    query = "SELECT * FROM (VALUES (1, NULL), (2, 'x,\"y')) AS v (a, b)"
    reply = await ask(farebox, account, shop, query, Accept=accept)
    assert (reply.status, reply.headers["Content-Type"], reply.text) == (200, content_type, text)
    refused = await ask(farebox, account, shop, query, Accept="image/png")
    assert refused.status == 406
    assert await spent(farebox, account) == 2 * ROW
