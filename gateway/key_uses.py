"""When keys were last used: noted in memory by whoever sees one, and written now and then for all of them.

A call only adds to a set. What a process that dies has not written is lost, which is a minute at most.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog

from gateway.kit.sql import OUTAGES, Db, Pool, Statements
from gateway.kit.tasks import Crew

SQL = Statements(__file__)

EVERY_SECONDS = 60

log = structlog.get_logger(__name__)


class KeyUses:
    def __init__(self) -> None:
        self.seen: set[UUID] = set()

    def note(self, key_id: UUID) -> None:
        self.seen.add(key_id)

    async def write(self, db: Db) -> None:
        noted, self.seen = self.seen, set()
        if not noted:
            return
        try:
            await db.execute(SQL.write, sorted(noted))
        except OUTAGES as error:
            # Still true in a minute.
            self.seen |= noted
            log.warning("key_uses.unwritten", reason=repr(error))


@asynccontextmanager
async def noting(pool: Pool) -> AsyncIterator[KeyUses]:
    uses, crew = KeyUses(), Crew()

    async def write_forever() -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await uses.write(pool)

    crew.start(write_forever())
    try:
        yield uses
    finally:
        await crew.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await uses.write(pool)
