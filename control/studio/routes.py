from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from control.api.answers import Created, Text, Written
from control.api.operation import Call, Query, Rest, Room
from control.api.wire_ids import ProjectId
from control.computes.provider import REFUSALS
from control.postgres.connecting import BranchUnusable, EndpointStopped, PasswordUnknown
from control.studio import asking, checks, rules, schema_ts, store, writing
from control.studio.models import (
    Added,
    AddedColumn,
    Affected,
    Altered,
    ChangedCell,
    ChangedColumn,
    Columns,
    Dropped,
    Edges,
    Indexes,
    Inserted,
    Made,
    NewIndex,
    NewRow,
    NewTable,
    QueryResult,
    Renamed,
    RenamedTable,
    RowKey,
    Rows,
    Schema,
    Statement,
    Tables,
    Truncated,
    Truncation,
)
from control.studio.refusals import (
    InUse,
    NameTaken,
    QueryFailed,
    ResultTooLarge,
    SessionRefused,
    StillReferenced,
    TooSlow,
)
from control.studio.store import SQL
from gateway.identify import QuotaExceeded
from gateway.kit.problem import Refusal, invalid

room = Room("studio", "/v1/projects/{project_id}/studio")

TABLE, COLUMN = "/tables/{table}", "/tables/{table}/columns/{column}"
READING: Sequence[type[Refusal]] = (
    *REFUSALS, BranchUnusable, EndpointStopped, PasswordUnknown, SessionRefused, QueryFailed, TooSlow,
    ResultTooLarge, InUse, QuotaExceeded,
)  # fmt: skip
# No transaction of ours waits for somebody's database.
READ: Mapping[str, Any] = {"access": "studio.use", "fails": READING, "is_transaction": False}
CHANGE: Mapping[str, Any] = {**READ, "fails": (*READING, NameTaken, StillReferenced)}


@room.get("/tables", **READ, id="studio_list_tables")
async def list_tables(call: Call, project_id: ProjectId) -> Tables:
    """List the tables of a project's database.

    Those of the schema `public`, in the database `app` of the default branch, which is woken for it.
    """
    async with asking.reading(call, project_id) as session:
        return Tables(tables=await store.tables(session))


@room.post("/tables", **CHANGE, id="studio_create_table")
async def create_table(call: Call, project_id: ProjectId, *, body: NewTable) -> Created[Made]:
    """Create a table. One of its columns is its primary key."""
    checks.table(body)
    async with asking.changing(call, project_id, table=body.table_name) as session:
        await checks.targets(session, body.columns, body)
        await store.create_table(session, body.table_name, body.columns)
    return Created(Made(name=body.table_name))


@room.patch(TABLE, **CHANGE, id="studio_rename_table")
async def rename_table(call: Call, project_id: ProjectId, table: str, *, body: RenamedTable) -> Renamed:
    """Rename a table."""
    async with asking.changing(call, project_id, table=table) as session:
        await checks.a_table(session, table)
        if body.new_name != table:
            await store.change(session, SQL.rename_table, table, body.new_name)
    return Renamed(renamed=body.new_name)


@room.post(f"{TABLE}/truncate", **CHANGE, id="studio_truncate_table")
async def truncate(call: Call, project_id: ProjectId, table: str, *, body: Truncation) -> Truncated:
    """Delete all rows of a table, and count from the beginning again.

    A table that others refer to is refused, unless `cascade` empties those as well.
    """
    async with asking.changing(call, project_id, table=table) as session:
        await checks.a_table(session, table)
        await store.change(session, SQL.truncate, table, body.cascade)
    return Truncated(truncated=table)


@room.delete(TABLE, **CHANGE, id="studio_drop_table")
async def drop_table(call: Call, project_id: ProjectId, table: str) -> Dropped:
    """Drop a table with all of its rows. One that something depends on is refused."""
    async with asking.changing(call, project_id, table=table) as session:
        await checks.a_table(session, table)
        await store.change(session, SQL.drop_table, table)
    return Dropped(dropped=table)


@room.get(f"{TABLE}/columns", **READ, id="studio_list_columns")
async def list_columns(call: Call, project_id: ProjectId, table: str) -> Columns:
    """List the columns of a table, or of a view."""
    async with asking.reading(call, project_id) as session:
        return Columns(columns=list((await store.relation(session, table)).columns))


@room.post(f"{TABLE}/columns", **CHANGE, id="studio_add_column")
async def add_column(call: Call, project_id: ProjectId, table: str, *, body: AddedColumn) -> Created[Added]:
    """Add a column to a table."""
    new = body.column
    if new.primary_key:
        raise invalid("body/column/primaryKey", "a table keeps the primary key that it was made with")
    async with asking.changing(call, project_id, table=table, column=new.name) as session:
        there = await checks.a_table(session, table)
        if new.name in there.names:
            raise invalid("body/column/name", f"there is a column {new.name}")
        await checks.targets(session, [new])
        await store.add_column(session, table, new)
    return Created(Added(added=new.name))


@room.patch(COLUMN, **CHANGE, id="studio_alter_column")
async def alter_column(
    call: Call, project_id: ProjectId, table: str, column: str, *, body: ChangedColumn
) -> Renamed | Altered:
    """Rename a column, or change whether it may be null and what it is by default."""
    has_default = "default_expr" in body.model_fields_set
    if body.new_name is None and body.not_null is None and not has_default:
        raise invalid("body", "has none of newName, notNull and defaultExpr")
    async with asking.changing(call, project_id, table=table, column=column) as session:
        there = checks.column_of(await checks.a_table(session, table), column)
        if body.new_name is None:
            if body.not_null is not None and there.is_primary_key:
                raise invalid("body/notNull", "a column of the primary key is never null")
            change = (body.not_null, has_default, body.default_expr)
            await store.change(session, SQL.alter_column, table, column, *change)
        elif body.new_name != column:
            await store.change(session, SQL.rename_column, table, column, body.new_name)
    return Altered(altered=column) if body.new_name is None else Renamed(renamed=body.new_name)


@room.delete(COLUMN, **CHANGE, id="studio_drop_column")
async def drop_column(call: Call, project_id: ProjectId, table: str, column: str) -> Dropped:
    """Drop a column. One of the primary key, the last one, and one that something depends on are refused."""
    async with asking.changing(call, project_id, table=table, column=column) as session:
        there = await checks.a_table(session, table)
        if checks.column_of(there, column).is_primary_key:
            raise invalid("path/column", "it is of the primary key")
        if len(there.columns) == 1:
            raise invalid("path/column", "it is the table's last one: drop the table")
        await store.change(session, SQL.drop_column, table, column)
    return Dropped(dropped=column)


@room.get(f"{TABLE}/indexes", **READ, id="studio_list_indexes")
async def list_indexes(call: Call, project_id: ProjectId, table: str) -> Indexes:
    """List the indexes of a table, that of its primary key first."""
    async with asking.reading(call, project_id) as session:
        await store.relation(session, table)
        return Indexes(indexes=await store.indexes_of(session, table))


@room.post(f"{TABLE}/indexes", **CHANGE, id="studio_create_index")
async def create_index(call: Call, project_id: ProjectId, table: str, *, body: NewIndex) -> Created[Made]:
    """Create an index. Writing to the table waits until it is there."""
    name = body.name or rules.index_name(table, body.columns)
    async with asking.changing(call, project_id, table=table, index=name) as session:
        checks.known(await checks.a_table(session, table), body.columns)
        await store.change(session, SQL.create_index, table, name, body.columns, body.unique)
    return Created(Made(name=name))


@room.delete(f"{TABLE}/indexes/{{name}}", **CHANGE, id="studio_drop_index")
async def drop_index(call: Call, project_id: ProjectId, table: str, name: str) -> Dropped:
    """Drop an index. That of the primary key is refused."""
    async with asking.changing(call, project_id, table=table, index=name) as session:
        await checks.a_table(session, table)
        found = {one.name: one for one in await store.indexes_of(session, table)}
        if name not in found:
            raise invalid("path/name", f"{table} has no index {name}")
        if found[name].is_primary:
            raise invalid("path/name", "it is the primary key's")
        await store.change(session, SQL.drop_index, name)
    return Dropped(dropped=name)


@room.get(f"{TABLE}/rows", **READ, id="studio_list_rows")
async def list_rows(
    call: Call,
    project_id: ProjectId,
    table: str,
    *,
    limit: str | None = None,
    offset: str | None = None,
    order_by: Annotated[str | None, Query("orderBy")] = None,
    direction: Annotated[Literal["asc", "desc"], Query("dir")] = "asc",
    filters: Annotated[
        Sequence[tuple[str, str]], Field(description="`column__operator=value`, any number of them."), Rest()
    ] = (),
) -> Written[Rows]:
    """List rows of a table or a view, 50 at a time unless `limit` says otherwise, up to 200.

    `column__operator=value` are filters, all of which have to hold: `eq`, `neq`, `gt`, `gte`, `lt`, `lte`,
    `like`, `ilike`, `in` with values between commas, and `is` with `null`, `notnull`, `true` or `false`.
    Rows are in the order of the primary key where nothing else is asked for, and among equals. A bigint and a
    numeric are text, bytes in base64, times as in RFC 3339. There are eight megabytes at most.
    """
    many = rules.clamped(limit, rules.LIMIT, 1, rules.LIMIT_MAX, "limit")
    skipped = rules.clamped(offset, 0, 0, 10**15, "offset")
    async with asking.reading(call, project_id) as session:
        there = await store.relation(session, table)
        wanted = rules.filters_of(filters, there.names)
        order = checks.order_of(there, order_by, direction)
        result = await store.rows(session, there, wanted, order, many, skipped)
    return Written(writing.rows(there.columns, result, many, skipped))


@room.post(f"{TABLE}/rows", **CHANGE, id="studio_insert_row")
async def insert_row(
    call: Call, project_id: ProjectId, table: str, *, body: NewRow
) -> Created[Written[Inserted]]:
    """Insert a row. The database reads the values as what its columns are; bytes are in base64."""
    async with asking.changing(call, project_id, table=table) as session:
        there = await store.relation(session, table)
        checks.known(there, list(body.values), "body/values")
        result = await store.insert_row(session, there, body.values)
    return Created(Written(writing.inserted(result)))


@room.patch(f"{TABLE}/rows", **CHANGE, id="studio_update_cell")
async def update_cell(call: Call, project_id: ProjectId, table: str, *, body: ChangedCell) -> Affected:
    """Change one value of one row, which its primary key names."""
    async with asking.changing(call, project_id, table=table, column=body.column) as session:
        there = await store.relation(session, table)
        rules.row_key(body.parts, there.key)
        checks.known(there, [body.column], "body/column")
        affected = await store.update_cell(session, there, body.parts, body.column, body.value)
    return Affected(affected=affected)


@room.delete(f"{TABLE}/rows", **CHANGE, id="studio_delete_row")
async def delete_row(call: Call, project_id: ProjectId, table: str, *, body: RowKey) -> Affected:
    """Delete one row, which its primary key names."""
    async with asking.changing(call, project_id, table=table) as session:
        there = await store.relation(session, table)
        rules.row_key(body.parts, there.key)
        affected = await store.delete_row(session, there, body.parts)
    return Affected(affected=affected)


@room.post("/query", **READ, id="studio_query")
async def query(call: Call, project_id: ProjectId, *, body: Statement) -> Written[QueryResult]:
    """Run SQL as the role that owns the database, in one transaction, for five seconds at most.

    Of several statements the last one's rows are the result, of which there are a thousand at most. The
    audit log keeps the beginning of what was run, whatever came of it.
    """
    result, elapsed_ms = await asking.query(call, project_id, body.sql)
    return Written(writing.query(result, elapsed_ms))


@room.get("/schema", **READ, id="studio_get_schema")
async def get_schema(call: Call, project_id: ProjectId) -> Schema:
    """Show all tables with their columns, and which refer to which."""
    async with asking.reading(call, project_id) as session:
        return Schema(tables=await store.relations(session), relationships=await store.edges(session))


@room.get("/schema.ts", **READ, id="studio_get_schema_ts")
async def get_schema_ts(call: Call, project_id: ProjectId) -> Text:
    """Write the tables as a `schema.ts`. Comments say what of them its language has no words for."""
    async with asking.reading(call, project_id) as session:
        tables, indexes = await store.relations(session), await store.indexes(session, None)
    return Text(schema_ts.source(tables, indexes))


@room.get("/relationships", **READ, id="studio_list_relationships")
async def list_relationships(call: Call, project_id: ProjectId) -> Edges:
    """List which columns refer to which."""
    async with asking.reading(call, project_id) as session:
        return Edges(edges=await store.edges(session))
