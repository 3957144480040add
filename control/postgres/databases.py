"""Databases of a branch's Postgres: a row for each, and the same one inside.

As with roles, the row first, then Postgres, then the commit. ``CREATE DATABASE`` is no part of any
transaction, so one that outlives its request is found by the next look at the branch.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.postgres import inside, roles
from gateway.kit import ids
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.kit.sql import Connection, Db, Statements

SQL = Statements(__file__)

DATABASES_MAX = 100


class DatabaseExists(Refusal):
    # The reference says 400 for it.
    status, slug, title = 400, "database-exists", "The database exists already"


class TooManyDatabases(Refusal):
    status, slug, title = 409, "too-many-databases", "Too many databases"


async def index(db: Db, branch_id: UUID) -> list[Record]:
    return await db.fetch(SQL.index, branch_id)


async def find(db: Db, branch_id: UUID, database_id: UUID | None, name: str | None) -> Record | None:
    return await db.fetchrow(SQL.find, branch_id, database_id, name)


async def named(db: Db, branch_id: UUID, name: str | None) -> str | None:
    """The oldest is meant when nobody says which. None if there is none."""
    found: str | None = await db.fetchval(SQL.named, branch_id, name)
    return found


async def of_projects(db: Db, project_ids: Sequence[UUID]) -> list[Record]:
    return await db.fetch(SQL.of_projects, project_ids)


async def insert(db: Db, branch_id: UUID, name: str, owner: str | None) -> Record | None:
    """The row alone, for a branch whose Postgres is yet to be made. None if the name is taken."""
    return await db.fetchrow(SQL.insert, ids.new(), branch_id, name, owner)


async def create(db: Db, connection: Connection, branch_id: UUID, name: str, owner: str | None) -> Record:
    """``owner`` is the branch's own if not named."""
    if await db.fetchval(SQL.count, branch_id) >= DATABASES_MAX:
        raise TooManyDatabases(f"a branch has up to {DATABASES_MAX} databases; drop one")
    whose = await owner_of(db, branch_id, owner)
    row = await insert(db, branch_id, name, whose)
    if row is None:
        raise DatabaseExists(f"the branch has a database {name}")
    # One that was made by SQL, or by a request that died, is taken over by the next look.
    exists = DatabaseExists(f"the branch has a database {name}")
    with inside.refusing({asyncpg.DuplicateDatabaseError: exists}):
        await inside.run(connection, SQL.write_create, name, whose)
    return row


async def owner_of(db: Db, branch_id: UUID, named: str | None) -> str:
    name = await roles.owner(db, branch_id) if named is None else named
    if name is None or await roles.find(db, branch_id, None, name) is None:
        raise invalid("body/owner_name", "is not a role of this branch")
    return name


async def give(db: Db, connection: Connection, database: Record, owner: str) -> Record:
    """What is in it keeps its owners."""
    whose = await owner_of(db, database["branch_id"], owner)
    row = await db.fetchrow(SQL.set_owner, database["id"], whose)
    assert row is not None, "the branch is locked, and it was there"
    gone = NotFound(f"Postgres has no database {database['name']} any more")
    with inside.refusing({asyncpg.InvalidCatalogNameError: gone}):
        await inside.run(connection, SQL.write_owner, database["name"], whose)
    return row


async def drop(db: Db, connection: Connection, database: Record) -> None:
    """With everything in it. Whoever is connected to it is not any more."""
    await db.execute(SQL.delete, database["id"])
    with inside.refusing():
        await inside.run(connection, SQL.write_drop, database["name"])
