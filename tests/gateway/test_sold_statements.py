"""What a caller may send who has paid nothing yet: it is read before there is a price."""

import time
from contextlib import suppress

import pytest

from gateway import statements
from gateway.statements import Unfit


@pytest.mark.parametrize(
    ("begin", "middle", "end"),
    [
        ("ARRAY[", "1", "]"),
        ("decimal(", "1", ")"),
        ("CAST(", "1", " AS int)"),
        ("(SELECT ", "1", ")"),
        ("f((x, y) -> ", "1", ")"),
        ("CASE WHEN ", "1", " THEN 1 END"),
        ("CAST(1 AS ARRAY<", "int", ">)"),
    ],
)
def test_nothing_that_is_nested_takes_long_to_read(begin: str, middle: str, end: str) -> None:
    """Reading arrays in one another took twice as long for each of them."""
    for depth in (20, 75, 300):
        # Of the processor, which others may have as well.
        since = time.process_time()
        with suppress(Unfit):
            statements.rows_asked(f"SELECT {begin * depth}{middle}{end * depth}")
        assert time.process_time() - since < 5, depth


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ARRAY[ARRAY[ARRAY[ARRAY[ARRAY[ARRAY[1, 2], ARRAY[3, 4]]]]]]",
        f"SELECT {', '.join('ARRAY[ARRAY[1, 2], ARRAY[3, 4]]' for _ in range(400))}",
        f"SELECT * FROM goods WHERE id IN ({', '.join(map(str, range(2500)))})",
        f"SELECT {'(' * 30}1{')' * 30}",
        "SELECT price::numeric(10, 2), kind::shop.kind, many::int[] FROM goods",
    ],
)
def test_what_people_write_is_read(statement: str) -> None:
    assert statements.rows_asked(f"{statement} LIMIT 3") == 3


@pytest.mark.parametrize("name", ["regclass", "REGROLE", "pg_catalog.regclass", 'pg_catalog."regrole"'])
def test_names_are_not_looked_up_by_casts(name: str) -> None:
    with pytest.raises(Unfit, match="looks a name up"):
        statements.rows_asked(f"SELECT 'goods'::{name}")


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT id FROM items LIMIT 5", 5),
        ("SELECT id FROM items", None),
        ("SELECT id FROM items LIMIT $1", None),
        ("SELECT id FROM items LIMIT ALL", None),
        # There is one total, and a payer need not say so.
        ("SELECT count(*) FROM items", 1),
        (
            "SELECT count(DISTINCT id) AS n, avg(cents) FROM items WHERE id > 7 HAVING sum(cents) > 1",
            1,
        ),
        ("WITH some AS (SELECT id FROM items) SELECT min(id) FROM some", 1),
        # Whoever says a limit means it.
        ("SELECT count(*) FROM items LIMIT 3", 3),
        # These may be any number.
        ("SELECT FROM items", None),
        ("SELECT id, count(*) FROM items GROUP BY id", None),
        ("SELECT count(*) FROM items GROUP BY id", None),
        ("SELECT min(id) FROM items GROUP BY ALL", None),
        ("SELECT count(*) OVER () FROM items", None),
        ("SELECT count(*), generate_series(1, 9) FROM items", None),
        ("SELECT count(*) FROM items UNION ALL SELECT id FROM items", None),
        ("SELECT theirs.count(1) FROM items", None),
        ("SELECT shop_total() FROM items", None),
    ],
)
def test_the_rows_of_a_statement_are_known_where_it_says_them(statement: str, rows: int | None) -> None:
    assert statements.rows_asked(statement) == rows
