"""Tables, columns and indexes of a project's database, by the studio."""

from urllib.parse import quote

from gateway.kit.sql import Pool
from tests.control.conftest import refused_fields
from tests.control.postgres.conftest import root as root
from tests.control.studio import Json, Studio
from tests.control.studio import computes as computes
from tests.control.studio import studio as studio

TEXT = {"name": "title", "type": "text"}
KEY = {"name": "id", "type": "bigint", "primaryKey": True}
HOSTILE = ['a"b', "Robert'); DROP TABLE x;--", "ü€🙂", "with space/and slash", "%I $1 {}", "x" * 63]


async def test_a_table_is_made_seen_renamed_and_dropped(studio: Studio, pool: Pool) -> None:
    assert await studio.get("/tables") == {"tables": []}
    key = {"name": "id", "type": "uuid", "primaryKey": True, "defaultExpr": "gen_random_uuid()"}
    at = {"name": "at", "type": "timestamptz", "notNull": True, "defaultExpr": "now()"}
    assert await studio.post("/tables", tableName="notes", columns=[key, TEXT, at]) == {"name": "notes"}
    (table,) = (await studio.get("/tables"))["tables"]
    assert (table["name"], table["approxRowCount"], table["bytes"] > 0) == ("notes", 0, True)
    columns = (await studio.get("/tables/notes/columns"))["columns"]
    assert columns[0] == {
        "name": "id", "dataType": "uuid", "type": "uuid", "nullable": False,
        "defaultExpr": "gen_random_uuid()", "ordinalPosition": 1, "isPrimaryKey": True, "references": None,
        "isGenerated": False, "isIdentity": False,
    }  # fmt: skip
    assert [(one["dataType"], one["nullable"], one["defaultExpr"]) for one in columns[1:]] == [
        ("text", True, None),
        ("timestamp with time zone", False, "now()"),
    ]
    assert (await studio.post("/tables", 409, tableName="notes", columns=[KEY]))["code"] == "name_taken"
    assert await studio.patch("/tables/notes", newName="notes") == {"renamed": "notes"}
    assert await studio.patch("/tables/notes", newName="pages") == {"renamed": "pages"}
    assert (await studio.delete("/tables/notes", 404))["code"] == "not_found"
    assert await studio.post("/tables/pages/truncate", 200, cascade=False) == {"truncated": "pages"}
    assert await studio.delete("/tables/pages") == {"dropped": "pages"}
    assert await studio.get("/tables") == {"tables": []}
    logged = await pool.fetch("SELECT * FROM audit_logs WHERE resource_type = 'studio' ORDER BY id")
    assert [(one["action"], one["metadata"]["table"]) for one in logged] == [
        ("studio_create_table", "notes"),
        ("studio_rename_table", "notes"),
        ("studio_rename_table", "notes"),
        ("studio_truncate_table", "pages"),
        ("studio_drop_table", "pages"),
    ]


async def test_what_cannot_be_a_table_is_refused_by_field(studio: Studio) -> None:
    def columns(*more: Json) -> Json:
        return {"tableName": "t", "columns": [KEY, *more]}

    for body, pointer in [
        ({"tableName": "t", "columns": []}, "body/columns"),
        ({"tableName": "a b", "columns": [KEY]}, "body/tableName"),
        ({"tableName": "t" * 64, "columns": [KEY]}, "body/tableName"),
        ({"tableName": "_briven_t", "columns": [KEY]}, "body/tableName"),
        ({"tableName": "_farebox_t", "columns": [KEY]}, "body/tableName"),
        ({"tableName": "t", "columns": [TEXT]}, "body/columns"),
        (columns({**KEY, "name": "other"}), "body/columns"),
        (columns({**TEXT, "name": "id"}), "body/columns"),
        (columns({**TEXT, "type": "money"}), "body/columns/1/type"),
        (columns({**TEXT, "defaultExpr": "now(); DROP TABLE t"}), "body/columns/1/defaultExpr"),
        (columns({**TEXT, "defaultExpr": "1), x int DEFAULT (2"}), "body/columns/1/defaultExpr"),
        (columns({**TEXT, "defaultExpr": "1 -- "}), "body/columns/1/defaultExpr"),
        (columns({**TEXT, "defaultExpr": "/* "}), "body/columns/1/defaultExpr"),
        (columns({**TEXT, "defaultExpr": "'open"}), "body/columns/1/defaultExpr"),
        (columns({**TEXT, "references": {"table": "none", "column": "id"}}), "body"),
        (columns({**TEXT, "references": {"table": "t", "column": "none"}}), "body"),
    ]:
        response = await studio.client.post(f"{studio.at}/tables", json=body)
        assert await refused_fields(response) == [pointer], body
    # What the server refuses is a 400 in its words, with nothing half done.
    bad = {**TEXT, "defaultExpr": "no_such_function()"}
    refused = await studio.post("/tables", 400, tableName="t", columns=[KEY, bad])
    assert (refused["code"], refused["sqlstate"]) == ("query_failed", "42883")
    assert await studio.get("/tables") == {"tables": []}


async def test_columns_are_added_changed_and_dropped(studio: Studio) -> None:
    await studio.table("notes", TEXT)
    assert await studio.post("/tables/notes/columns", column={**TEXT, "name": "body"}) == {"added": "body"}
    await studio.post("/tables/notes/columns", 400, column={**TEXT, "name": "body"})
    await studio.post("/tables/notes/columns", 400, column={**KEY, "name": "other"})
    await studio.post("/tables/none/columns", 404, column=TEXT)
    at = "/tables/notes/columns"
    assert await studio.patch(f"{at}/body", newName="text", notNull=True) == {"renamed": "text"}
    assert await studio.patch(f"{at}/text", notNull=True, defaultExpr="lower('A')") == {"altered": "text"}
    text = (await studio.get(at))["columns"][2]
    assert (text["name"], text["nullable"], text["defaultExpr"]) == ("text", False, "lower('A'::text)")
    await studio.patch(f"{at}/text", notNull=False, defaultExpr=None)
    text = (await studio.get(at))["columns"][2]
    assert (text["nullable"], text["defaultExpr"]) == (True, None)
    # Null is the same as not sent, but for a default.
    for body in ({}, {"notNull": None}, {"newName": None}, {"newName": "no name"}, {"notNull": "yes"}):
        await studio.patch(f"{at}/text", 400, **body)
    assert (await studio.patch(f"{at}/text", 400, newName="id"))["sqlstate"] == "42701"
    assert (await studio.patch(f"{at}/id", 400, notNull=False))["code"] == "validation_failed"
    await studio.patch(f"{at}/none", 404, notNull=False)
    await studio.post("/tables/notes/rows", values={"id": 1})
    assert (await studio.patch(f"{at}/text", 400, notNull=True))["sqlstate"] == "23502"
    assert await studio.delete(f"{at}/text") == {"dropped": "text"}


async def test_dropping_is_guarded(studio: Studio) -> None:
    await studio.table("authors", TEXT)
    to = {"table": "authors", "column": "id", "onDelete": "setNull"}
    await studio.table("notes", {"name": "author", "type": "bigint", "references": to})
    assert (await studio.get("/relationships"))["edges"] == [
        {"fromTable": "notes", "fromColumn": "author", "toTable": "authors", "toColumn": "id"}
    ]
    for told in (
        await studio.delete("/tables/authors", 409),
        await studio.post("/tables/authors/truncate", 409),
    ):
        assert told["code"] == "still_referenced", told
    assert await studio.post("/tables/authors/truncate", 200, cascade=True) == {"truncated": "authors"}
    assert (await studio.delete("/tables/notes/columns/id", 400))["code"] == "validation_failed"
    await studio.delete("/tables/notes/columns/none", 404)
    assert await studio.delete("/tables/notes/columns/author") == {"dropped": "author"}
    assert await studio.delete("/tables/authors") == {"dropped": "authors"}
    await studio.sql("CREATE TABLE single (a int)")
    await studio.delete("/tables/single/columns/a", 400)
    await studio.sql("CREATE VIEW seen AS SELECT * FROM notes; CREATE TABLE _briven_own (id int)")
    for path in ("/tables/seen", "/tables/seen/columns/id"):
        assert (await studio.delete(path, 400))["errors"][0]["pointer"] == "path/table"
    await studio.delete("/tables/_briven_own", 404)
    assert [one["name"] for one in (await studio.get("/tables"))["tables"]] == ["notes", "single"]
    assert (await studio.delete("/tables/notes", 409))["code"] == "still_referenced"


async def test_indexes(studio: Studio) -> None:
    await studio.table("notes", TEXT, {"name": "at", "type": "timestamptz"})
    at = "/tables/notes/indexes"
    assert await studio.post(at, columns=["title", "at"]) == {"name": "notes_title_at_idx"}
    assert await studio.post(at, columns=["title"], unique=True, name="own") == {"name": "own"}
    assert (await studio.post(at, 409, columns=["title"], name="own"))["code"] == "name_taken"
    for columns in (["none"], ["title", "title"], []):
        await studio.post(at, 400, columns=columns)
    assert (await studio.get(at))["indexes"] == [
        {"name": "notes_pkey", "columns": ["id"], "unique": True, "isPrimary": True},
        {"name": "notes_title_at_idx", "columns": ["title", "at"], "unique": False, "isPrimary": False},
        {"name": "own", "columns": ["title"], "unique": True, "isPrimary": False},
    ]
    await studio.delete(f"{at}/notes_pkey", 400)
    await studio.delete(f"{at}/none", 400)
    assert await studio.delete(f"{at}/own") == {"dropped": "own"}
    await studio.sql(
        "ALTER TABLE notes ADD CONSTRAINT one UNIQUE (title); CREATE INDEX low ON notes (lower(title))"
    )
    assert (await studio.delete(f"{at}/one", 409))["code"] == "still_referenced"
    found = {one["name"]: one["columns"] for one in (await studio.get(at))["indexes"]}
    assert found["low"] == ["lower(title)"]


async def test_names_may_be_anything(studio: Studio) -> None:
    """Made by a statement, as a client of Postgres would."""
    for name in HOSTILE:
        quoted = '"' + name.replace('"', '""') + '"'
        await studio.sql(f"CREATE TABLE {quoted} (id int PRIMARY KEY, {quoted} text)")
        at = f"/tables/{quote(name, safe='')}"
        await studio.post(f"{at}/rows", values={"id": 1, name: "x"})
        key = [{"column": "id", "value": 1}]
        assert await studio.patch(f"{at}/rows", primaryKey=key, column=name, value="y") == {"affected": 1}
        listed = await studio.get(f"{at}/rows", **{f"{name}__eq": "y", "orderBy": name})
        assert listed["rows"] == [{"id": 1, name: "y"}]
        made = await studio.post(f"{at}/indexes", columns=[name])
        assert len(made["name"].encode()) <= 63
        assert {"name": made["name"], "columns": [name], "unique": False, "isPrimary": False} in (
            await studio.get(f"{at}/indexes")
        )["indexes"]
        await studio.delete(f"{at}/indexes/{quote(made['name'], safe='')}")
        assert (await studio.get(f"{at}/columns"))["columns"][1]["name"] == name
    assert {one["name"] for one in (await studio.get("/tables"))["tables"]} == set(HOSTILE)
    # One character more is another name, not the same cut off.
    await studio.delete(f"/tables/{'x' * 64}", 404)
    for name in HOSTILE:
        await studio.delete(f"/tables/{quote(name, safe='')}")
