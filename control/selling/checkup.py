"""What ``farebox doctor`` says of publishers' databases. A branch of a project is looked up and not woken."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
from asyncpg import Record

from config.settings import Settings
from control import migrate
from control.doctor import data_of, dsn_of
from control.finding import Finding
from control.selling import branches, tables
from control.supervisor import keys
from gateway import published
from gateway.kit.crypto import Keyring
from gateway.kit.sql import OUTAGES, Connection, Statements
from gateway.kit.ssrf import Guard
from gateway.upstreams.branches import Branch
from gateway.upstreams.postgres import Queries
from gateway.upstreams.postgres_places import Database

SQL = Statements(__file__)
SUBJECT = "publishers' databases"
REMEDY = "Tell its publisher: it is said anew as database_config, and callers pay nothing meanwhile."


async def sellers(settings: Settings) -> AsyncIterator[Finding]:
    """Silent where there are none, and where the database or the keys are missing: that was said by then."""
    dsn = dsn_of(settings)
    chosen = [key.get_secret_value() for key in settings.secrets.keys]
    if dsn is None:
        return
    try:
        keyring = Keyring.parse(chosen or keys.stored(data_of(settings) / keys.NAME))
        async with migrate.connected(dsn) as connection:
            await migrate.check(connection)
            found = await connection.fetch(SQL.sellers)
            opened = [(row, published.database(dict(row), keyring)) for row in found]
            lost = {row["id"]: await gone(connection, database) for row, database in opened}
    except (ValueError, migrate.DatabaseUnreachable, migrate.SchemaError, asyncpg.PostgresError, *OUTAGES):
        return
    guard = Guard(is_private_allowed=settings.allow_private_upstreams)
    queries = Queries(guard, settings.upstream, settings.queries)
    try:
        wrong = [one for one in await asyncio.gather(
            *(look(queries, row, database, lost[row["id"]]) for row, database in opened)
        ) if one is not None]  # fmt: skip
    finally:
        await queries.close()
    for finding in wrong:
        yield finding
    if len(wrong) < len(found):
        yield Finding(SUBJECT, f"{len(found) - len(wrong)} can be asked")


async def gone(connection: Connection, database: Database | None) -> bool:
    if not isinstance(database, Branch):
        return False
    row = await connection.fetchrow(branches.SQL.found, database.id, database.organization_id)
    return row is None or row["endpoint_id"] is None


async def look(queries: Queries, row: Record, database: Database | None, is_gone: bool) -> Finding | None:  # noqa: FBT001
    if is_gone:
        return Finding(f"publisher {row['slug']}", "its branch is gone, or nothing serves it", REMEDY)
    if database is None or isinstance(database, Branch):
        return None
    found = await tables.look(queries, row["id"], database)
    if not found.warnings:
        return None
    return Finding(f"publisher {row['slug']}", found.warnings[0], REMEDY)
