"""The tables as a ``schema.ts`` of the project's command-line client, for whoever goes on from there.

Its language has less than a database: what it has no words for is said in a comment.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from control.studio.models import Column, TableColumns

IMPORTED_FROM = "@briven/cli/schema"
PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)
TYPES: Final = {
    "text": "text",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "bigint",
    "boolean": "boolean",
    "jsonb": "jsonb",
    "uuid": "uuid",
    "timestamp with time zone": "timestamp",
}
SIZED: Final = {"character varying": "varchar", "vector": "vector"}
SIZE = re.compile(r"(.+)\((\d+)\)", re.ASCII)
ON_DELETE: Final = {"cascade": "cascade", "restrict": "restrict", "setNull": "set null"}


def source(tables: Sequence[TableColumns], indexes: Sequence[Mapping[str, Any]]) -> str:
    of_table: dict[str, list[Mapping[str, Any]]] = {}
    for one in indexes:
        of_table.setdefault(one["table"], []).append(one)
    lines = [line for table in tables for line in table_lines(table, of_table.get(table.name, []))]
    builders = {builder(column)[0] for table in tables for column in table.columns}
    names = ", ".join(["schema", *(["table"] if tables else []), *sorted(builders)])
    head = f"import {{ {names} }} from '{IMPORTED_FROM}';\n\nexport default schema({{\n"
    return head + "".join(f"{line}\n" for line in lines) + "});\n"


def table_lines(table: TableColumns, indexes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    key = [column.name for column in table.columns if column.is_primary_key]
    if len(key) > 1:
        yield f"  // The primary key of this table is {text(key)}; here it can have one column only."
    unique = [
        one["columns"][0] for one in indexes if is_plain(one) and one["unique"] and len(one["columns"]) == 1
    ]
    yield f"  {name(table.name)}: table({{"
    yield "    columns: {"
    for column in table.columns:
        yield from column_lines(column, is_key=key == [column.name], is_unique=column.name in unique)
    yield "    },"
    more = [one for one in indexes if is_plain(one) and not (one["unique"] and len(one["columns"]) == 1)]
    if more:
        yield "    indexes: ["
        for one in more:
            yield f"      {{ columns: {text(one['columns'])}, unique: {text(one['unique'])} }},"
        yield "    ],"
    for one in indexes:
        if not one["isPrimary"] and not one["isPlain"]:
            yield f"    // The index {text(one['name'])} is on expressions, or on some rows only."
    yield "  }),"


def is_plain(index: Mapping[str, Any]) -> bool:
    return bool(index["isPlain"]) and not index["isPrimary"]


def column_lines(column: Column, *, is_key: bool, is_unique: bool) -> Iterator[str]:
    made, size = builder(column)
    if not is_known(column):
        yield f"      // In the database it is {text(column.type)}."
    if column.is_generated or column.is_identity:
        yield "      // The database gives it its value."
    parts = [f"{made}({size})"]
    if is_key:
        parts.append("primaryKey()")
    elif not column.nullable:
        parts.append("notNull()")
    if is_unique:
        parts.append("unique()")
    if column.default_expr is not None:
        parts.append(f"default({text(column.default_expr)})")
    if column.references is not None:
        parts.append(reference(column))
    yield f"      {name(column.name)}: {'.'.join(parts)},"


def reference(column: Column) -> str:
    to = column.references
    assert to is not None, "it was looked at"
    rule = ON_DELETE.get(to.on_delete)
    options = f", {{ onDelete: {text(rule)} }}" if rule else ""
    return f"references({text(to.table)}, {text(to.column)}{options})"


def is_known(column: Column) -> bool:
    sized = SIZE.fullmatch(column.type)
    return column.type in TYPES or (sized is not None and sized[1] in SIZED)


def builder(column: Column) -> tuple[str, str]:
    """Its name and its argument."""
    sized = SIZE.fullmatch(column.type)
    if sized is not None and sized[1] in SIZED:
        return SIZED[sized[1]], sized[2]
    return TYPES.get(column.type, "text"), ""


def text(value: object) -> str:
    """JSON is JavaScript, and in ASCII it has nothing that ends a line, or a comment of one line."""
    return json.dumps(value)


def name(value: str) -> str:
    """As an object's key. One of them would be the object's prototype instead."""
    if value == "__proto__":
        return f"[{text(value)}]"
    return value if PLAIN.fullmatch(value) else text(value)
