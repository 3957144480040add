"""When keys were last used: noted in memory by whoever sees one, and written now and then for all of them.

A call only adds to a set. What a process that dies has not written is lost, which is a minute at most. That a
key is used at all is written within a second or so, because a recovery code is good until then.
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
# Of many first uses, at a start, one statement a second.
FIRST_SECONDS = 1
KNOWN_MAX = 100_000

log = structlog.get_logger(__name__)


class KeyUses:
    def __init__(self) -> None:
        self.seen: set[UUID] = set()
        self.known: set[UUID] = set()
        self.is_one_new = asyncio.Event()

    def note(self, key_id: UUID) -> None:
        self.seen.add(key_id)
        if key_id not in self.known:
            self.is_one_new.set()

    async def wait(self) -> None:
        """For a key that this process has not seen before, or else a minute."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY_SECONDS):
                await self.is_one_new.wait()

    async def write(self, db: Db) -> None:
        noted, self.seen = self.seen, set()
        self.is_one_new.clear()
        if not noted:
            return
        # Forgotten now and then, which costs a write more and bounds the memory.
        if len(self.known) > KNOWN_MAX:
            self.known.clear()
        self.known |= noted
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
            await uses.wait()
            await asyncio.sleep(FIRST_SECONDS)
            await uses.write(pool)

    crew.start(write_forever())
    try:
        yield uses
    finally:
        await crew.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await uses.write(pool)
