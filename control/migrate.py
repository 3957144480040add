"""The database's schema, brought forward by numbered files, each in a transaction of its own, never back."""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from gateway.kit.sql import Connection, Db, Statements

SQL = Statements(__file__)

DIRECTORY = Path(__file__).with_name("migrations")
CONNECT_SECONDS_MAX = 10
POSTGRES_MAJOR_MIN = 16
FORM = re.compile(r"\d{4}_[a-z0-9_]+\.sql")


class SchemaError(Exception):
    """The database and the code do not fit; the text is a sentence for the operator."""


class DatabaseUnreachable(SchemaError):
    pass


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.sql.encode()).digest()


def files(directory: Path = DIRECTORY) -> list[Migration]:
    """In order. The order is that of the numbers, so no two files may share one."""
    found = [Migration(path.name, path.read_text()) for path in sorted(directory.glob("*.sql"))]
    numbers = [one.name[:4] for one in found]
    for one in found:
        if FORM.fullmatch(one.name) is None or numbers.count(one.name[:4]) > 1:
            raise SchemaError(
                f"The migration {one.name} does not have a number of its own, as in 0001_name.sql."
            )
    return found


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing and return the names. Any number of runners may do so at the same time."""
    async with connected(dsn) as connection:
        return await apply(connection, files())


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """A connection of its own; a server that cannot be reached is ``DatabaseUnreachable``."""
    try:
        # Prepared statements do not survive a pooler that changes sessions between transactions.
        connection = await asyncpg.connect(dsn, statement_cache_size=0, timeout=CONNECT_SECONDS_MAX)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnreachable(f"The database cannot be reached: {str(error) or 'no answer'}.") from None
    try:
        require_version(connection)
        yield connection
    finally:
        await connection.close()


def require_version(connection: Connection) -> None:
    found = connection.get_server_version()
    if found.major < POSTGRES_MAJOR_MIN:
        raise SchemaError(
            f"The database is PostgreSQL {found.major}. Use PostgreSQL {POSTGRES_MAJOR_MIN} or later, "
            "or unset FAREBOX_POSTGRES__DSN to have one embedded."
        )


async def apply(connection: Connection, known: Sequence[Migration]) -> list[str]:
    async with connection.transaction():
        await connection.execute(SQL.lock)
        await connection.execute(SQL.create)
    names = []
    for migration in known:
        async with connection.transaction():
            await connection.execute(SQL.lock)
            await connection.execute(SQL.hurry)
            # Read anew under each lock: another runner may have applied it since.
            if migration in missing(known, await applied(connection)):
                await run(connection, migration)
                names.append(migration.name)
    return names


async def run(connection: Connection, migration: Migration) -> None:
    try:
        await connection.execute(migration.sql)
    except asyncpg.LockNotAvailableError:
        raise SchemaError(
            f"{migration.name} was not applied: a table was in use for 5 seconds. Nothing has changed; "
            "try again when long transactions have ended."
        ) from None
    except asyncpg.PostgresError as error:
        raise SchemaError(f"{migration.name} was not applied and nothing of it remains: {error}") from error
    await connection.execute(SQL.record, migration.name, migration.sha256)


async def check(db: Db | str) -> None:
    """Raise ``SchemaError`` when a migration is missing.

    One more than we know is no error: while replicas are replaced one by one, the old ones work with the
    schema of the new.
    """
    if isinstance(db, str):
        async with connected(db) as connection:
            await check(connection)
        return
    done = await applied(db) if await db.fetchval(SQL.exists) else {}
    late = [one.name for one in files() if one.name not in done]
    if late:
        raise SchemaError(
            f"The database's schema is older than this farebox: {', '.join(late)} is missing. "
            "Run: farebox migrate"
        )


async def applied(db: Db) -> Mapping[str, bytes]:
    return {row["name"]: row["sha256"] for row in await db.fetch(SQL.applied)}


def missing(known: Sequence[Migration], done: Mapping[str, bytes]) -> list[Migration]:
    """Refuse a history that is not the beginning of ours."""
    unknown = sorted(done.keys() - {one.name for one in known})
    if unknown:
        raise SchemaError(
            f"The database is newer than this farebox: it has {', '.join(unknown)}. "
            "Install the version that made it."
        )
    for one in known:
        if one.name in done and done[one.name] != one.sha256:
            raise SchemaError(
                f"{one.name} is not what was applied to this database: an applied migration must never be "
                "edited. Put the file back, and make the change in a new one."
            )
    rest = [one for one in known if one.name not in done]
    for one in rest:
        if done and one.name < max(done):
            raise SchemaError(
                f"{one.name} comes before {max(done)}, which this database has already. "
                "Give it a later number."
            )
    return rest
