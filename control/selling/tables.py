"""What there is to query in a publisher's database: what its role may read, as it was when it was saved.

A caller cannot ask the catalog, and has to know what to ask for. Looking at the store asks no database.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from control.api.ports import Ports
from gateway.kit.problem import Refusal
from gateway.kit.sql import Statements
from gateway.options import Question
from gateway.upstreams.postgres_places import Database

SQL = Statements(__file__)
# Of what everybody sees in the store, in each page of it.
COLUMNS_MAX: Final = 300
BYTES_MAX: Final = 1 << 16
SECONDS: Final = 10
# In an example.
NAMES_MAX, ROWS_MAX = 5, 10

Json: TypeAlias = dict[str, Any]


class Row(msgspec.Struct):
    table: str
    column: str
    type: str
    table_description: str | None
    column_description: str | None


class Result(msgspec.Struct):
    rows: list[Row]


async def readable(ports: Ports, publisher_id: UUID, database: Database) -> Json | None:
    """None when the database does not say: it may be there later, and is published all the same."""
    if ports.queries is None:
        return None
    question = Question(SQL.readable, (), COLUMNS_MAX + 1)
    try:
        async with (
            asyncio.timeout(SECONDS),
            ports.queries.ask(publisher_id, database, question, "tables") as answer,
        ):
            content = b""
            async for chunk in answer.chunks:
                content += chunk
                if len(content) > BYTES_MAX:
                    return None
        rows = msgspec.json.decode(content, type=Result).rows
    except (Refusal, TimeoutError, ConnectionError, msgspec.MsgspecError):
        return None
    # No table of ours can keep it, nor has a server one that is what it says to be.
    if b"\\u0000" in content:
        return None
    return described(rows[:COLUMNS_MAX], is_complete=len(rows) <= COLUMNS_MAX)


def described(rows: Sequence[Row], *, is_complete: bool) -> Json:
    tables: dict[str, Json] = {}
    for row in rows:
        told: Json = {"name": row.table, "description": row.table_description, "columns": []}
        column = {"name": row.column, "type": row.type, "description": row.column_description}
        tables.setdefault(row.table, told)["columns"].append(column)
    return {"tables": list(tables.values()), "is_complete": is_complete, "example": example(tables)}


def example(tables: dict[str, Json]) -> Json | None:
    """A body to begin with."""
    first = next(iter(tables.values()), None)
    if first is None:
        return None
    names = ", ".join(column["name"] for column in first["columns"][:NAMES_MAX])
    # As the database itself quotes them.
    return {"query": " ".join(("SELECT", names, "FROM", first["name"], "LIMIT", str(ROWS_MAX)))}
