"""Tables, columns and indexes of a project's database, by the studio."""

from tests.control.postgres.conftest import root as root
from tests.control.studio import Studio
from tests.control.studio import computes as computes
from tests.control.studio import studio as studio

TEXT = {"name": "title", "type": "text"}


async def test_a_table_is_made_seen_renamed_and_dropped(studio: Studio) -> None:
    assert await studio.get("/tables") == {"tables": []}
    key = {"name": "id", "type": "uuid", "primaryKey": True, "defaultExpr": "gen_random_uuid()"}
    at = {"name": "at", "type": "timestamptz", "notNull": True, "defaultExpr": "now()"}
    assert await studio.post("/tables", tableName="notes", columns=[key, TEXT, at]) == {"name": "notes"}
    (table,) = (await studio.get("/tables"))["tables"]
    assert (table["name"], table["approxRowCount"], table["bytes"] > 0) == ("notes", 0, True)
    columns = (await studio.get("/tables/notes/columns"))["columns"]
    assert columns[0] == {
        "name": "id", "dataType": "uuid", "type": "uuid", "nullable": False, "defaultExpr": "gen_random_uuid()",
        "ordinalPosition": 1, "isPrimaryKey": True, "references": None, "isGenerated": False, "isIdentity": False,
    }  # fmt: skip
    assert [(one["dataType"], one["nullable"], one["defaultExpr"]) for one in columns[1:]] == [
        ("text", True, None),
        ("timestamp with time zone", False, "now()"),
    ]
