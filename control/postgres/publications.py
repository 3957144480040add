"""Publications of a branch's databases: made inside by us, because one of all tables takes a superuser."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.postgres import inside
from gateway.kit import ids
from gateway.kit.problem import Refusal, invalid
from gateway.kit.sql import Connection, Db, Statements

SQL = Statements(__file__)


class PublicationExists(Refusal):
    # The reference says 400 for what is wrong with a request to make one.
    status, slug, title = 400, "publication-exists", "The publication exists already"


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication tells of: which tables, none for all of them, and which changes to their rows."""

    tables: tuple[str, ...] = ()
    publish_insert: bool = True
    publish_update: bool = True
    publish_delete: bool = True
    publish_truncate: bool = True

    @property
    def words(self) -> str:
        chosen = {
            "insert": self.publish_insert,
            "update": self.publish_update,
            "delete": self.publish_delete,
            "truncate": self.publish_truncate,
        }
        return ", ".join(word for word, is_published in chosen.items() if is_published)


def published(row: Record) -> Published:
    return Published(
        tuple(row["tables"]), row["publish_insert"], row["publish_update"], row["publish_delete"],
        row["publish_truncate"],
    )  # fmt: skip


async def index(db: Db, branch_id: UUID) -> list[Record]:
    return await db.fetch(SQL.index, branch_id)


async def find(db: Db, branch_id: UUID, publication_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.find, branch_id, publication_id)


async def create(
    db: Db, connection: Connection, branch_id: UUID, database: str, name: str, wanted: Published
) -> UUID:
    found = await resolved(connection, wanted)
    publication_id = ids.new()
    await put(db, publication_id, branch_id, database, name, found)
    exists = PublicationExists(f"{database} has a publication {name}")
    with inside.refusing({asyncpg.DuplicateObjectError: exists}):
        async with connection.transaction():
            await make(connection, name, found)
    return publication_id


async def change(
    db: Db, connection: Connection, branch_id: UUID, publication: Record, wanted: Published
) -> None:
    found = await resolved(connection, wanted)
    await put(db, publication["id"], branch_id, publication["database"], publication["name"], found)
    with inside.refusing():
        async with connection.transaction():
            if found.tables == tuple(publication["tables"]):
                await inside.run(connection, SQL.write_change, publication["name"], found.words)
            else:
                # Postgres changes none of all tables into one of some, nor back. Its readers see it whole.
                await inside.run(connection, SQL.write_drop, publication["name"])
                await make(connection, publication["name"], found)


async def make(connection: Connection, name: str, found: Published) -> None:
    listed = ", ".join(found.tables) or None
    await inside.run(connection, SQL.write_create, name, listed, found.words)
    if found.tables:
        await inside.run(connection, SQL.write_owner, name)


async def drop(db: Db, connection: Connection, publication: Record) -> None:
    await db.execute(SQL.delete, publication["id"])
    with inside.refusing():
        await inside.run(connection, SQL.write_drop, publication["name"])


async def resolved(connection: Connection, wanted: Published) -> Published:
    """With its tables spelled as Postgres quotes them."""
    found: list[str] = []
    for position, written in enumerate(wanted.tables):
        unknown = invalid(f"body/tables/{position}", "is not a table of this database, like public.orders")
        with inside.refusing({asyncpg.InvalidParameterValueError: unknown}):
            table: str | None = await connection.fetchval(SQL.resolve, written)
        if table is None:
            raise unknown
        found.append(table)
    chosen = tuple(sorted(set(found)))
    return Published(
        chosen, wanted.publish_insert, wanted.publish_update, wanted.publish_delete, wanted.publish_truncate
    )


async def put(
    db: Db, publication_id: UUID, branch_id: UUID, database: str, name: str, found: Published
) -> None:
    await db.execute(
        SQL.put, publication_id, branch_id, database, name, found.tables, found.publish_insert,
        found.publish_update, found.publish_delete, found.publish_truncate,
    )  # fmt: skip


async def observed(connection: Connection) -> dict[str, Published]:
    """By name, those of the database that the connection is to."""
    return {row["name"]: published(row) for row in await connection.fetch(SQL.observed)}


async def adopt(db: Db, branch_id: UUID, seen: Mapping[str, Mapping[str, Published]]) -> None:
    """The rows become what Postgres has. ``seen`` is by database."""
    await db.execute(SQL.forget_databases, branch_id, list(seen))
    for database, theirs in seen.items():
        await db.execute(SQL.forget, branch_id, database, list(theirs))
        for name, found in theirs.items():
            await put(db, ids.new(), branch_id, database, name, found)
