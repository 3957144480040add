"""What there is to query in a publisher's database: what its role may read, as it was when it was saved.

A caller cannot ask the catalog, and has to know what to ask for. Looking at the store asks no database.
Whoever saves one that cannot be asked, or of which nothing is to be read, is warned: it may be there later,
and is published all the same.
"""

import asyncio
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from gateway.kit.problem import Refusal
from gateway.kit.sql import Statements
from gateway.options import Question
from gateway.upstreams.branches import Branch
from gateway.upstreams.postgres import Queries
from gateway.upstreams.postgres_places import Database
from gateway.upstreams.postgres_wire import ServerError

SQL = Statements(__file__)
# Of what everybody sees in the store, in each page of it.
COLUMNS_MAX: Final = 300
BYTES_MAX: Final = 1 << 16
SECONDS: Final = 10
# In an example.
NAMES_MAX, ROWS_MAX = 5, 10
# In a warning.
NAMED_MAX: Final = 20

Json: TypeAlias = dict[str, Any]


class Row(msgspec.Struct):
    table: str
    column: str
    type: str
    table_description: str | None
    column_description: str | None


class Result(msgspec.Struct):
    rows: list[Row]


class Named(msgspec.Struct):
    name: str


class Absent(msgspec.Struct):
    rows: list[Named]


@dataclass(frozen=True, slots=True)
class Look:
    """None where the database did not say, and sentences about what is wrong with it."""

    found: Json | None = None
    warnings: tuple[str, ...] = ()


class Unfit(Exception):
    """It is more than is shown, or no table of ours can keep it."""


async def look(queries: Queries, publisher_id: UUID, database: Database) -> Look:
    question = Question(SQL.readable, (), COLUMNS_MAX + 1)
    try:
        async with asyncio.timeout(SECONDS):
            content = await asked(queries, publisher_id, database, question)
            rows = msgspec.json.decode(content, type=Result).rows
            lacking = await absent(queries, publisher_id, database)
    except Unfit:
        return Look()
    except (Refusal, TimeoutError, ConnectionError, msgspec.MsgspecError) as error:
        warning = f"the database could not be looked into: {reason(error)}; calls fail, and cost nothing"
        return Look(None, (warning,))
    warnings = []
    if lacking:
        named = ", ".join(lacking[:NAMED_MAX]) + (" …" if len(lacking) > NAMED_MAX else "")
        warnings.append(f"the branch has no tables of its own that are called so: {named}")
    elif not rows:
        warnings.append("there is nothing to query: the role may read no table")
    return Look(described(rows[:COLUMNS_MAX], is_complete=len(rows) <= COLUMNS_MAX), tuple(warnings))


async def absent(queries: Queries, publisher_id: UUID, database: Database) -> list[str]:
    """What is named of a branch and is not there to be sold."""
    if not isinstance(database, Branch):
        return []
    question = Question(SQL.absent, (json.dumps(database.tables),), len(database.tables))
    content = await asked(queries, publisher_id, database, question)
    return [row.name for row in msgspec.json.decode(content, type=Absent).rows]


async def asked(queries: Queries, publisher_id: UUID, database: Database, question: Question) -> bytes:
    content = b""
    async with queries.ask(publisher_id, database, question, "tables") as answer:
        async for chunk in answer.chunks:
            content += chunk
            if len(content) > BYTES_MAX or b"\\u0000" in content:
                raise Unfit
    return content


def reason(error: Exception) -> str:
    """What callers are not told, whose database it is not. Never the words of a server: it is a stranger's,
    and whoever saves it may be looking for what answers where.
    """
    cause = error.__cause__
    if isinstance(error, TimeoutError):
        return f"it did not answer within {SECONDS} seconds"
    if isinstance(cause, Refusal):
        return str(cause)
    if isinstance(cause, ssl.SSLError):
        return "what it shows for a certificate is not vouched for"
    if isinstance(cause, ServerError) and cause.state.startswith("28"):
        return "it does not let the user in with this password"
    if isinstance(cause, ServerError):
        return f"it refused with SQLSTATE {cause.state}"
    if isinstance(error, Refusal):
        return str(error).removesuffix("; nothing was charged")
    return "it gave no proper answer"


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
