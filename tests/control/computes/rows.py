"""What a project's owner writes and reads, as SQL against whichever endpoint."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from control.computes.local import LocalProvider
from control.computes.provider import ComputeSpec
from gateway.kit.sql import Connection

SPEC = ComputeSpec()


@asynccontextmanager
async def session(
    provider: LocalProvider, timeline: str, spec: ComputeSpec = SPEC
) -> AsyncIterator[Connection]:
    """A connection to the endpoint ``on-TIMELINE``, started if need be and left running."""
    await provider.start(f"on-{timeline}", timeline, spec)
    connection = await provider.admin(f"on-{timeline}")
    await connection.execute("SET search_path = public")
    try:
        yield connection
    finally:
        await connection.close()


async def numbers(provider: LocalProvider, timeline: str) -> list[int]:
    async with session(provider, timeline) as connection:
        return [row[0] for row in await connection.fetch("SELECT n FROM kept ORDER BY n")]


async def lsn(connection: Connection) -> str:
    return str(await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text"))
