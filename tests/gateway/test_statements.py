from pathlib import Path

import pytest

from gateway.kit.sql import Statements


def read(tmp_path: Path, text: str) -> Statements:
    (tmp_path / "store.sql").write_text(text)
    return Statements(str(tmp_path / "store.py"))


def test_a_part_stands_in_every_statement_that_names_it(tmp_path: Path) -> None:
    sql = read(
        tmp_path, "-- part: columns\nid, name\n\n-- name: one\nSELECT {columns}\n-- name: all\nTABLE t\n"
    )
    assert (sql.one, sql.all) == ("SELECT id, name", "TABLE t")
    with pytest.raises(AttributeError):
        _ = sql.columns


def test_a_name_used_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="used twice"):
        read(tmp_path, "-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n")
