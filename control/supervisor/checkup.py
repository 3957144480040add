"""What ``farebox doctor`` says of how much may be open at once."""

from collections.abc import AsyncIterator

import asyncpg

from config.settings import Settings
from control import migrate
from control.doctor import dsn_of
from control.finding import Finding
from control.supervisor import capacity

# With fewer, callers are turned away who are nobody's attack.
CALLERS_ENOUGH = 1024


async def files(settings: Settings) -> AsyncIterator[Finding]:
    most = capacity.files_max()
    callers = min(settings.listen.connections_max, capacity.callers_max(most))
    is_enough = callers >= min(settings.listen.connections_max, CALLERS_ENOUGH)
    detail = f"{most} for each process, which has up to {callers} connections of callers"
    yield Finding("open files", detail, None if is_enough else capacity.REMEDY)


async def connections(settings: Settings) -> AsyncIterator[Finding]:
    """An embedded server is started with as many as it takes, and one that is away was said to be."""
    dsn = dsn_of(settings)
    if dsn is None:
        return
    try:
        async with migrate.connected(dsn) as connection:
            allowed = int(await connection.fetchval("SHOW max_connections"))
    except (migrate.SchemaError, asyncpg.PostgresError, OSError):
        return
    wanted = capacity.database_connections(settings)
    detail = f"{allowed} at once, of which this farebox may take {wanted}"
    remedy = "Raise max_connections of the server, or lower FAREBOX_POSTGRES__POOL_SIZE or …LISTEN__WORKERS."
    yield Finding("database connections", detail, remedy if wanted > allowed else None)
