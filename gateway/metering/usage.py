"""Usage rows of calls that moved no money, and how often a price was told, buffered and written together.

A charge commits with its usage row; these rows say that nothing was charged, so a crash may lose the last
half second of them and nobody's money.
"""

import asyncio
from collections import defaultdict
from uuid import UUID

import structlog

from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew
from gateway.ledger import usage
from gateway.ledger.usage import Said, Usage, said_of
from gateway.types import Caller, Inbound, Match, Outcome, Rail

FLUSH_SECONDS = 0.5
# While the database is away, newer rows are worth more than a process without memory.
BUFFERED_MAX = 100_000

log = structlog.get_logger(__name__)


def begun(inbound: Inbound, caller: Caller, match: Match, rail: Rail, payer: str | None = None) -> Usage:
    """The usage row of a call that has not ended yet; whoever ends it says how."""
    return Usage(
        call_id=inbound.call_id,
        publisher_id=match.route.publisher_id,
        organization_id=caller.organization_id,
        payer=payer,
        rail=rail,
        method=inbound.method,
        path=inbound.path or "/",
        outcome="abandoned",
        status=None,
    )


def ended(event: Usage, outcome: Outcome, status: int | None) -> Usage:
    """As ``dataclasses.replace`` makes it, which takes longer than all else that is done for a free call."""
    return Usage(
        event.call_id, event.publisher_id, event.organization_id, event.payer, event.rail, event.method,
        event.path, outcome, status, event.asset_id, event.cost,
    )  # fmt: skip


class Recorder:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.waiting: defaultdict[Said, list[UUID]] = defaultdict(list)
        """Calls whose rows are not written yet, by what is said of them."""
        self.size = 0
        """How many they are, and those that are being written."""
        self.offers: dict[UUID, int] = {}
        self.crew = Crew()

    def start(self) -> None:
        self.crew.start(self.flush_forever())

    def add(self, event: Usage) -> None:
        self.keep(event.call_id, said_of(event))

    def add_free(
        self, inbound: Inbound, caller: Caller, match: Match, outcome: Outcome, status: int | None
    ) -> None:
        self.keep(
            inbound.call_id,
            (
                match.route.publisher_id, caller.organization_id, None, "free", inbound.method,
                inbound.path or "/", outcome, status, None, 0,
            ),
        )  # fmt: skip

    def keep(self, call_id: UUID, said: Said) -> None:
        if self.size < BUFFERED_MAX:
            self.size += 1
            self.waiting[said].append(call_id)

    def offered(self, publisher_id: UUID, times: int = 1) -> None:
        """A caller was told the price. Only counted: anybody can ask, as often as they like."""
        self.offers[publisher_id] = self.offers.get(publisher_id, 0) + times

    async def flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        if self.offers:
            await self.flush_offers()
        if not self.waiting:
            return
        batch, self.waiting = self.waiting, defaultdict(list)
        size, is_written = sum(map(len, batch.values())), False
        try:
            await usage.record_alike(self.pool, list(batch.items()))
            is_written = True
        except Exception:
            # The loop must outlive a database that is away; what could not be written is tried again.
            log.exception("usage.flush_failed", rows=size)
        finally:
            if is_written:
                self.size -= size
            else:
                # Also when the loop is ended meanwhile: ``close`` flushes once more. No row is written twice.
                self.put_back(batch)

    def put_back(self, batch: defaultdict[Said, list[UUID]]) -> None:
        for said, call_ids in self.waiting.items():
            batch[said] += call_ids
        self.waiting = batch

    async def flush_offers(self) -> None:
        told, self.offers = self.offers, {}
        try:
            await usage.add_offers(self.pool, told)
        except Exception:
            log.exception("usage.offers_lost", offers=sum(told.values()))

    async def close(self) -> None:
        await self.crew.close()
        await self.flush()
