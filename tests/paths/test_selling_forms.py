"""What a result looks like."""

import json

import pytest

from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.paths.selling import Seller
from tests.paths.selling import seller as seller
from tests.paths.selling import shop_server as shop_server
from tests.paths.test_selling_queries import ROW, ask
from tests.paths.test_selling_queries import account as account


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
    assert await farebox.spent(account, 20 * DOLLAR) == 2 * ROW
