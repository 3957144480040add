"""Statements of one's own by the studio, and what it says of the whole schema."""

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.kit.sql import Pool
from tests.control.postgres.conftest import root as root
from tests.control.studio import Studio
from tests.control.studio import computes as computes
from tests.control.studio import studio as studio

STUB = """
const made = (name) => (...given) => { const one = { name, given, with: [] };
  for (const word of ['primaryKey', 'notNull', 'unique', 'default', 'references'])
    one[word] = (...more) => { one.with.push([word, ...more]); return one; };
  return one; };
const schema = (tables) => tables, table = (one) => one;
const [text, integer, bigint, boolean, jsonb, uuid, timestamp, varchar, vector] =
  ['text', 'integer', 'bigint', 'boolean', 'jsonb', 'uuid', 'timestamp', 'varchar', 'vector'].map(made);
"""


async def test_a_statement_is_run_and_audited(studio: Studio, pool: Pool) -> None:
    told = await studio.sql("SELECT 1 AS one, 2::bigint AS one, 'x' AS \"__proto__\", null AS nothing")
    assert told["columns"] == [
        {"name": "one", "dataType": "int4"}, {"name": "one_2", "dataType": "int8"},
        {"name": "__proto__", "dataType": "text"}, {"name": "nothing", "dataType": "text"},
    ]  # fmt: skip
    assert told["rows"] == [{"one": 1, "one_2": "2", "__proto__": "x", "nothing": None}]
    assert (told["rowCount"], told["command"], told["truncated"]) == (1, "SELECT", False)
    told = await studio.sql("CREATE TABLE t (id int PRIMARY KEY)")
    assert (told["command"], told["rowCount"], told["rows"], told["columns"]) == ("CREATE TABLE", 0, [], [])
    told = await studio.sql("INSERT INTO t SELECT generate_series(1, 1500)")
    assert (told["command"], told["rowCount"], told["rows"]) == ("INSERT", 1500, [])
    told = await studio.sql("SELECT * FROM t ORDER BY id")
    assert (len(told["rows"]), told["rowCount"], told["truncated"]) == (1000, 1000, True)
    told = await studio.sql("DELETE FROM t WHERE id > 2 RETURNING id; SELECT 5; UPDATE t SET id = -id")
    assert (told["command"], told["rowCount"], told["rows"], told["columns"]) == ("UPDATE", 2, [], [])
    told = await studio.sql("UPDATE t SET id = 0 - id; SELECT id FROM t ORDER BY id")
    assert (told["command"], told["rows"]) == ("SELECT", [{"id": 1}, {"id": 2}])
    for nothing in ("-- only words", ";", "   "):
        assert (await studio.sql(nothing))["command"] == ""
    await studio.sql("SELECT '" + "ä" * 2000 + "'")
    await studio.sql("SELEKT 1", 400)
    logged = await pool.fetch(
        "SELECT metadata ->> 'statement' AS said FROM audit_logs WHERE action = 'studio_query' ORDER BY id"
    )
    assert len(logged) == 11
    assert logged[-2]["said"] == "SELECT '" + "ä" * 1016
    assert logged[-1]["said"] == "SELEKT 1"


async def test_a_statement_is_done_whole_or_not_at_all(studio: Studio) -> None:
    await studio.sql(
        "CREATE TABLE t (id int PRIMARY KEY, other int REFERENCES t DEFERRABLE INITIALLY DEFERRED)"
    )
    for statements, state in [
        ("INSERT INTO t VALUES (1); SELECT 1/0", "22012"),
        ("INSERT INTO t VALUES (1); SELEKT", "42601"),
        # Found out at the commit only.
        ("INSERT INTO t VALUES (1, 5)", "23503"),
        ("DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = 'ZZ001'; END $$", "ZZ001"),
        ("SELECT * FROM none", "42P01"), ("VACUUM t", "25001"), ("DROP DATABASE app", "25001"),
        ("SET ROLE cloud_admin", "42501"), ("SELECT pg_read_file('/etc/passwd')", "42501"),
        ("COPY t TO '/tmp/t'", "42501"),
    ]:  # fmt: skip
        refused = await studio.sql(statements, 400)
        assert (refused["code"], refused["sqlstate"]) == ("query_failed", state), refused
    for statement in (
        "COPY t FROM STDIN",
        "COPY t TO STDOUT",
        "SELECT 1; COPY t TO STDOUT",
        "SELECT $1::int",
    ):
        assert (await studio.sql(statement, 400))["code"] == "validation_failed", statement
    for body in ({}, {"sql": ""}, {"sql": "x" * 16_385}, {"sql": 5}, {"sql": "SELECT '\0'"}):
        await studio.ask("POST", "/query", 400, body)
    assert (await studio.sql("SELECT count(*) AS n FROM t"))["rows"] == [{"n": "0"}]
    # The same for a row that the studio inserts.
    refused = await studio.post("/tables/t/rows", 400, values={"id": 1, "other": 5})
    assert refused["sqlstate"] == "23503"


async def test_a_script_that_says_itself_when_it_begins_and_ends(studio: Studio) -> None:
    told = await studio.sql(
        "BEGIN; CREATE TABLE t (id int); INSERT INTO t VALUES (1); COMMIT; SELECT * FROM t"
    )
    assert told["rows"] == [{"id": 1}]
    assert (await studio.sql("DELETE FROM t; ROLLBACK"))["command"] == "ROLLBACK"
    assert (await studio.sql("SELECT count(*) AS n FROM t"))["rows"] == [{"n": "1"}]
    told = await studio.sql("SET bytea_output = 'escape'; SELECT 'a'::bytea AS b")
    assert told["rows"] == [{"b": "a"}]


async def test_what_takes_too_long_is_stopped(studio: Studio) -> None:
    """Also what takes its own limit away; and meanwhile others are answered."""
    began = time.monotonic()
    statements = ["SELECT pg_sleep(60)", "SET statement_timeout = 0; SELECT pg_sleep(60)"]
    endless = "SELECT generate_series(1, 100000000), repeat('x', 100000); SELECT 1"
    await studio.table()
    *refused, tables = await asyncio.gather(
        *(studio.sql(one, 400) for one in [*statements, endless]), studio.get("/tables")
    )
    assert [one["code"] for one in refused] == ["query_timeout", "query_timeout", "result_too_large"]
    assert len(tables["tables"]) == 1
    assert time.monotonic() - began < 20
    left = await studio.sql("SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%'")
    assert left["rows"] == [{"n": "1"}]


async def test_who_waits_for_a_lock_is_told_so(studio: Studio) -> None:
    await studio.table()
    holding = studio.sql("LOCK TABLE notes; SELECT pg_sleep(3.5)")

    async def waiting() -> Any:
        while not (await studio.sql(
            "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = to_regclass('notes')"
        ))["rows"]:  # fmt: skip
            pass
        return await studio.delete("/tables/notes", 409)

    _, told = await asyncio.gather(holding, waiting())
    assert told["code"] == "table_in_use"


async def test_a_key_is_inserted_once(studio: Studio) -> None:
    await studio.sql("CREATE TABLE t (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, n int)")
    headers = {"Idempotency-Key": "one"}
    answers = [
        await studio.ask("POST", "/tables/t/rows", 201, {"values": {"n": 1}}, headers=headers)
        for _ in range(2)
    ]
    assert answers[0] == answers[1] == {"inserted": {"id": 1, "n": 1}}
    assert len((await studio.get("/tables/t/rows"))["rows"]) == 1


async def test_the_schema_as_a_whole_and_as_source(studio: Studio, tmp_path: Path) -> None:
    await studio.sql(
        """CREATE TABLE authors (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), mail varchar(80)
            NOT NULL UNIQUE, fee numeric(10, 2) DEFAULT 0, "it's ""odd""\n" text, "__proto__" int);
        CREATE TABLE notes (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, author uuid NOT NULL
            REFERENCES authors ON DELETE CASCADE, at timestamptz DEFAULT now(), tags text[],
            done boolean, doc jsonb);
        CREATE INDEX ON notes (author, at); CREATE INDEX ON notes (lower(doc::text)) ;
        CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b));
        CREATE TABLE _briven_own (id int PRIMARY KEY)"""
    )
    whole = await studio.get("/schema")
    assert [one["name"] for one in whole["tables"]] == ["authors", "notes", "pairs"]
    assert whole["relationships"] == (await studio.get("/relationships"))["edges"]
    assert whole["tables"][1]["columns"] == (await studio.get("/tables/notes/columns"))["columns"]
    response = await studio.client.get(f"{studio.at}/schema.ts")
    assert (response.status, response.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    source = await response.text()
    assert source.startswith("import { schema, table, bigint, boolean, ")
    for line in [
        '      id: uuid().primaryKey().default("gen_random_uuid()"),',
        "      mail: varchar(80).notNull().unique(),",
        '      // In the database it is "numeric(10,2)".',
        '      fee: text().default("0"),',
        '      author: uuid().notNull().references("authors", "id", { onDelete: "cascade" }),',
        '      { columns: ["author", "at"], unique: false },',
        '  // The primary key of this table is ["a", "b"]; here it can have one column only.',
    ]:
        assert line in source.split("\n"), line
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to read it")
    # What the language is made of stands where it is imported.
    _, _, body = source.partition("\n")
    path = tmp_path / "schema.mjs"
    path.write_text(STUB + body + "")
    script = f"const {{ default: it }} = await import('{path}'); console.log(JSON.stringify(it))"
    running = await asyncio.create_subprocess_exec(
        node, "--input-type=module", "-e", script, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await running.communicate()
    assert running.returncode == 0
    assert b'"__proto__":{"name":"integer"' in printed
