import pytest

from gateway import statements


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
