"""Rows by the studio: pages, filters, and values there and back."""

from typing import Any

from tests.control.conftest import refused_fields
from tests.control.postgres.conftest import root as root
from tests.control.studio import Json, Studio
from tests.control.studio import computes as computes
from tests.control.studio import studio as studio

VALUES: list[tuple[str, Any, Any]] = [
    # A column's type, what is sent, and what is answered.
    ("bigint", 2**63 - 1, "9223372036854775807"),
    ("bigint", "42", "42"),
    ("numeric", "0.10", "0.10"),
    ("numeric", 1.5, "1.5"),
    ("numeric", "NaN", "NaN"),
    ("integer", 7, 7),
    ("boolean", True, True),
    ("boolean", "f", False),
    ("double precision", 0.1, 0.1),
    ("double precision", "-Infinity", "-Infinity"),
    ("text", 'ü"🙂\n', 'ü"🙂\n'),
    ("text", 7, "7"),
    ("text", "", ""),
    ("jsonb", {"a": [1, None, {"b": 10**30}]}, {"a": [1, None, {"b": 10**30}]}),
    ("jsonb", "text", "text"),
    ("json", [1, "two"], [1, "two"]),
    ("bytea", "AP8=", "AP8="),
    ("timestamptz", "2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
    ("timestamp", "2026-01-31 12:00:00", "2026-01-31T12:00:00"),
    ("date", "2026-01-31", "2026-01-31"),
    ("uuid", "01a2024b-253b-75c2-a95d-9218af1ff52b", "01a2024b-253b-75c2-a95d-9218af1ff52b"),
    ("text[]", ["a", None, 'b"\\,{}'], ["a", None, 'b"\\,{}']),
    ("bigint[]", [[1, 2], [3, 4]], [["1", "2"], ["3", "4"]]),
    ("bytea[]", ["AP8="], ["AP8="]),
    ("jsonb[]", [{"a": 1}, [2]], [{"a": 1}, [2]]),
    ("mood[]", ["sad", "ok"], "{sad,ok}"),
    ("mood", "sad", "sad"),
    ("positive", 3, 3),
    ("point", "(1,2)", "(1,2)"),
    ("int4range", "[1,3)", "[1,3)"),
    ("text", None, None),
]


async def test_values_there_and_back(studio: Studio) -> None:
    await studio.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)"
    )
    columns = ", ".join(f"c{at} {type_}" for at, (type_, _, _) in enumerate(VALUES))
    await studio.sql(f"CREATE TABLE all_types (id int PRIMARY KEY, {columns})")
    sent = {f"c{at}": value for at, (_, value, _) in enumerate(VALUES)}
    inserted = (await studio.post("/tables/all_types/rows", values={"id": 1, **sent}))["inserted"]
    expected = {f"c{at}": value for at, (_, _, value) in enumerate(VALUES)}
    assert inserted == {"id": 1, **expected}
    page = await studio.get("/tables/all_types/rows")
    assert page["rows"] == [inserted]
    assert (page["limit"], page["offset"], page["hasMore"]) == (50, 0, False)
    assert page["columns"] == (await studio.get("/tables/all_types/columns"))["columns"]
    # What was answered is understood again, one cell at a time.
    await studio.post("/tables/all_types/rows", values={"id": 2})
    for name, value in expected.items():
        cell = {"primaryKeyColumn": "id", "primaryKeyValue": 2, "column": name, "value": value}
        assert await studio.patch("/tables/all_types/rows", **cell) == {"affected": 1}
    again = (await studio.get("/tables/all_types/rows", id__eq="2"))["rows"]
    assert again == [{**inserted, "id": 2}]


async def test_what_the_database_refuses_is_told(studio: Studio) -> None:
    await studio.sql(
        "CREATE TABLE t (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, n int NOT NULL, "
        "twice int GENERATED ALWAYS AS (n * 2) STORED, at timestamptz, b bytea, a int[])"
    )
    at = "/tables/t/rows"
    made = (await studio.post(at, values={"n": 1}))["inserted"]
    assert (made["id"], made["twice"]) == (1, 2)
    for values, state in [
        ({"n": None}, "23502"), ({"n": "x"}, "22P02"), ({"n": 1, "twice": 3}, "428C9"),
        ({"n": 1, "id": 5}, "428C9"), ({"n": 2**40}, "22003"), ({"n": {"a": 1}}, "22P02"),
        ({"n": 1, "at": "yesterday-ish"}, "22007"), ({"n": 1, "a": [[1], [2, 3]]}, "22P02"),
    ]:  # fmt: skip
        refused = await studio.post(at, 400, values=values)
        assert (refused["code"], refused["sqlstate"]) == ("query_failed", state), values
    for body in [
        {}, {"values": {}}, {"values": {"none": 1}}, {"values": {"ctid": 1}}, {"values": {"n": 1, "b": "?"}},
        {"values": {"a": [[[[[[[1]]]]]]], "n": 1}}, {"values": {"n\u0000": 1}},
    ]:  # fmt: skip
        response = await studio.client.post(studio.at + at, json=body)
        assert await refused_fields(response), body
    # Python makes no text of a number as long as this, nor would it be one of Postgres'.
    long = '{"values": {"n": ' + "9" * 5000 + "}}"
    headers = {"Content-Type": "application/json"}
    response = await studio.client.post(studio.at + at, data=long, headers=headers)
    assert response.status == 400, await response.text()
    assert len((await studio.get(at))["rows"]) == 1


async def test_pages_of_ten_thousand_rows(studio: Studio) -> None:
    await studio.sql(
        "CREATE TABLE many (id int PRIMARY KEY, word text, odd boolean);"
        "INSERT INTO many SELECT n, CASE WHEN n % 3 > 0 THEN 'w_' || n % 7 END, n % 2 = 1"
        " FROM generate_series(1, 10000) AS n"
    )
    at = "/tables/many/rows"
    page = await studio.get(at, limit="999", offset="9900")
    assert (page["limit"], len(page["rows"]), page["hasMore"]) == (200, 100, False)
    assert [row["id"] for row in page["rows"]] == list(range(9901, 10001))
    page = await studio.get(at, limit="0", orderBy="id", dir="desc")
    assert ([row["id"] for row in page["rows"]], page["limit"], page["hasMore"]) == ([10000], 1, True)
    assert (await studio.get(at, offset="10000"))["rows"] == []
    # Among equals in the order of the key, so that pages do not overlap.
    first, second = [await studio.get(at, orderBy="word", limit="200", offset=str(skip)) for skip in (0, 200)]
    ids = [row["id"] for page in (first, second) for row in page["rows"]]
    assert (len(set(ids)), ids) == (400, sorted(ids))
    for query, count in [
        ({"id__eq": "7"}, 1), ({"id__neq": "7", "id__lte": "10"}, 9), ({"id__gt": "9998"}, 2),
        ({"id__gte": "9998"}, 3), ({"id__lt": "3"}, 2), ({"id__in": "1,2,3,99999"}, 3),
        ({"word__like": "w\\_1", "id__lt": "22"}, 2), ({"word__ilike": "W%", "id__lt": "10"}, 6),
        ({"word__is": "null", "id__lt": "10"}, 3), ({"word__is": "notnull", "id__lt": "10"}, 6),
        ({"odd__is": "true", "id__lt": "10"}, 5), ({"odd__eq": "false", "id__lt": "10"}, 4),
        ({"word__eq": "null"}, 0), ({"whatever": "1", "id__eq": "1"}, 1), ({"id__like": "999_"}, 10),
    ]:  # fmt: skip
        assert len((await studio.get(at, **query))["rows"]) == count, query
    for query, pointer in [
        ({"none__eq": "1"}, "query/none__eq"), ({"id__near": "1"}, "query/id__near"),
        ({"odd__is": "maybe"}, "query/odd__is"), ({"orderBy": "none"}, "query/orderBy"),
        ({"dir": "up"}, "query/dir"), ({"limit": "ten"}, "query/limit"), ({"offset": "1.5"}, "query/offset"),
        ({"id__in": ",".join(["1"] * 101)}, "query/id__in"), ({"word__eq": "\0"}, "query"),
    ]:  # fmt: skip
        response = await studio.client.get(studio.at + at, params=query)
        assert await refused_fields(response) == [pointer], query
    assert (await studio.ask("GET", f"{at}?id__eq=x", 400))["sqlstate"] == "22P02"
    (table,) = (await studio.get("/tables"))["tables"]
    assert table["approxRowCount"] == 10_000


async def test_a_row_is_named_by_its_whole_key(studio: Studio) -> None:
    await studio.sql(
        "CREATE TABLE pairs (a int, b text, n int, PRIMARY KEY (a, b));"
        "INSERT INTO pairs VALUES (1, 'x', 0), (1, 'y', 0); CREATE TABLE keyless (a int);"
        "INSERT INTO keyless VALUES (1), (1)"
    )
    at = "/tables/pairs/rows"
    whole = [{"column": "b", "value": "x"}, {"column": "a", "value": 1}]
    assert await studio.patch(at, primaryKey=whole, column="n", value=5) == {"affected": 1}
    assert await studio.patch(at, primaryKey=whole, column="n", value=None) == {"affected": 1}
    assert [row["n"] for row in (await studio.get(at))["rows"]] == [None, 0]
    part: dict[str, Any]
    for part in (
        {"primaryKey": whole[1:]}, {"primaryKeyColumn": "a", "primaryKeyValue": 1}, {}, {"primaryKey": []},
        {"primaryKey": [*whole, {"column": "n", "value": 0}]},
    ):  # fmt: skip
        await studio.delete(at, 400, **part) if part else None
        await studio.patch(at, 400, **part, column="n", value=1)
    key = {"primaryKeyColumn": "a", "primaryKeyValue": 1}
    assert (await studio.delete("/tables/keyless/rows", 400, **key))["code"] == "validation_failed"
    await studio.patch(at, 400, primaryKey=whole, column="n")
    await studio.patch(at, 400, primaryKey=whole, column="none", value=1)
    assert await studio.delete(at, primaryKey=whole) == {"affected": 1}
    assert await studio.delete(at, primaryKey=whole) == {"affected": 0}
    assert len((await studio.get(at))["rows"]) == 1
    assert len((await studio.get("/tables/keyless/rows"))["rows"]) == 2


async def test_views_and_partitions(studio: Studio) -> None:
    await studio.sql(
        "CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);"
        "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (20);"
        "CREATE VIEW seen AS SELECT id FROM parts; CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one"
    )
    for number in (1, 11):
        await studio.post("/tables/parts/rows", values={"id": number})
    await studio.post("/tables/parts/rows", 400, values={"id": 99})
    cell: Json = {"primaryKeyColumn": "id", "primaryKeyValue": 1, "column": "id", "value": 12}
    assert await studio.patch("/tables/parts/rows", **cell) == {"affected": 1}
    assert [row["id"] for row in (await studio.get("/tables/parts_high/rows"))["rows"]] == [11, 12]
    assert [row["id"] for row in (await studio.get("/tables/seen/rows", orderBy="id"))["rows"]] == [11, 12]
    assert (await studio.get("/tables/kept/rows"))["rows"] == [{"one": 1}]
    assert [one["name"] for one in (await studio.get("/tables"))["tables"]] == [
        "parts",
        "parts_high",
        "parts_low",
    ]
    await studio.delete("/tables/seen/rows", 400, primaryKeyColumn="id", primaryKeyValue=1)


async def test_a_huge_value_is_refused_before_it_is_read(studio: Studio) -> None:
    await studio.sql(
        "CREATE TABLE big (id int PRIMARY KEY, body text);"
        "INSERT INTO big VALUES (1, repeat('x', 9000000)), (2, 'small')"
    )
    assert (await studio.ask("GET", "/tables/big/rows", 400))["code"] == "result_too_large"
    assert (await studio.get("/tables/big/rows", id__eq="2"))["rows"] == [{"id": 2, "body": "small"}]
    refused = await studio.post("/query", 400, sql="DELETE FROM big RETURNING *")
    assert refused["code"] == "result_too_large"
    counted = await studio.sql("SELECT count(*) AS n FROM big")
    assert counted["rows"] == [{"n": "2"}]
