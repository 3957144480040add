"""Statements for a project's database, which the database writes itself: it quotes every name in them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from control.studio.models import Column, Edge, Index, NewColumn, Table, TableColumns
from control.studio.rules import ON_DELETE, Filters
from control.studio.session import Result, Session
from gateway.kit.problem import NotFound
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Relation:
    name: str
    kind: str
    columns: Sequence[Column]
    arrays: frozenset[str]
    """Names of columns that are arrays."""

    @property
    def is_table(self) -> bool:
        return self.kind in ("r", "p")

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def key(self) -> list[str]:
        return [column.name for column in self.columns if column.is_primary_key]


async def default_branch(db: Db, project_id: UUID) -> tuple[UUID | None, bool]:
    """Its id, if there is one, and whether it has data."""
    row = await db.fetchrow(SQL.default_branch, project_id)
    return (None, False) if row is None else (row["id"], row["state"] == "ready")


async def told(session: Session, statement: str, *given: Any) -> list[Any]:
    result = await session.run(statement, given)
    return [json.loads(row[0]) for row in result.rows if row[0] is not None]


async def written(session: Session, statement: str, *given: Any) -> str:
    """The statement that the database writes."""
    ((text,),) = (await session.run(statement, given)).rows
    assert text is not None, "what would make it null was checked"
    return text


async def tables(session: Session) -> list[Table]:
    return [Table(**row) for row in await told(session, SQL.tables)]


async def relation(session: Session, name: str) -> Relation:
    found = await told(session, SQL.relation, name)
    if not found:
        raise NotFound(f"no table {name}")
    row = found[0]
    arrays = frozenset(column["name"] for column in row["columns"] if column["isArray"])
    return Relation(row["name"], row["kind"], [Column(**one) for one in row["columns"]], arrays)


async def relations(session: Session) -> list[TableColumns]:
    return [TableColumns(**row) for row in await told(session, SQL.relations)]


async def edges(session: Session) -> list[Edge]:
    return [Edge(**row) for row in await told(session, SQL.edges)]


async def indexes(session: Session, table: str | None) -> list[Mapping[str, Any]]:
    return await told(session, SQL.indexes, table)


async def indexes_of(session: Session, table: str) -> list[Index]:
    return [Index(**row) for row in await indexes(session, table)]


async def create_table(session: Session, name: str, columns: Sequence[NewColumn]) -> None:
    definitions = [definition(column) for column in columns]
    await session.run(await written(session, SQL.create_table, name, definitions))


async def add_column(session: Session, table: str, column: NewColumn) -> None:
    await session.run(await written(session, SQL.add_column, table, [definition(column)]))


def definition(column: NewColumn) -> dict[str, Any]:
    to = column.references
    return {
        "name": column.name,
        "type": column.type,
        "not_null": column.not_null or column.primary_key,
        "primary_key": column.primary_key,
        "default_expr": column.default_expr,
        "to_table": to and to.table,
        "to_column": to and to.column,
        "on_delete": to and ON_DELETE[to.on_delete],
    }


async def change(session: Session, statement: str, *given: Any) -> None:
    """One of the statements above that need nothing but names."""
    await session.run(await written(session, statement, *given))


async def rows(
    session: Session,
    table: Relation,
    filters: Filters,
    order: Sequence[tuple[str, str]],
    limit: int,
    offset: int,
) -> Result:
    conditions = [{"name": one.column, "template": one.template} for one in filters.conditions]
    ordered = [{"name": name, "direction": direction} for name, direction in order]
    # One more than are wanted tells whether there are more.
    statement = await written(session, SQL.rows, table.name, conditions, ordered, limit + 1, offset)
    return await session.run(statement, filters.parameters, rows_max=limit)


async def insert_row(session: Session, table: Relation, given: Mapping[str, Any]) -> Result:
    statement = await written(session, SQL.insert_row, table.name, list(given))
    return await session.run(statement, list(given.values()), [name in table.arrays for name in given])


async def update_cell(
    session: Session, table: Relation, key: Mapping[str, Any], column: str, value: Any
) -> int:
    statement = await written(session, SQL.update_cell, table.name, 1, column, list(key))
    arrays = [name in table.arrays for name in (column, *key)]
    return (await session.run(statement, [value, *key.values()], arrays)).count


async def delete_row(session: Session, table: Relation, key: Mapping[str, Any]) -> int:
    statement = await written(session, SQL.delete_row, table.name, 0, list(key))
    return (await session.run(statement, list(key.values()), [name in table.arrays for name in key])).count
