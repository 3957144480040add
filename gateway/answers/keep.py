"""While an answer is settled and relayed: copy one that may be asked for again.

The copy is read ahead, up to its limit, so that it is whole and stored although the caller hangs up, reads
slowly, or has to wait for a payment. A longer answer passes as if nobody copied it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import asyncpg
import structlog

from gateway.answers.store import Answers, Kept, Omitted
from gateway.kit import tasks
from gateway.kit.sql import OUTAGES
from gateway.kit.tasks import Crew
from gateway.kit.values import dataclass
from gateway.types import Answer
from gateway.upstreams.arriving import Arriving
from gateway.x402.intake import SettlementPending

# A caller who was told that its payment is pending waits no longer than this for the upstream.
PENDING_SECONDS = 10

# An answer up to this size that is all here is kept by the statement that submits its payment.
AT_HAND_BYTES_MAX = 1 << 14

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where the answer to one call is kept, and for whom; ``copied`` is a ``gateway.types.Keeper``."""

    answers: Answers
    call_id: UUID
    senders: frozenset[str] | None = None
    """None when whoever knows the key of the call may have it."""

    def at_hand(self, answer: Answer) -> Kept | None:
        """What is to be kept, when it is all here and small: by somebody with a statement to keep it with."""
        body = seen(answer, min(self.answers.bytes_max, AT_HAND_BYTES_MAX))
        return None if body is None else Kept(self.call_id, answer.head, body, None, self.senders)

    @asynccontextmanager
    async def copied(self, answer: Answer) -> AsyncIterator[Answer]:
        blank = Kept(self.call_id, answer.head, None, None, self.senders)
        if (body := seen(answer, self.answers.bytes_max)) is not None:
            # All of it is here, so there is nothing to read ahead: it is stored while the payment settles.
            storing = self.answers.keep(replace(blank, body=body))
            try:
                yield answer
            finally:
                await stored(storing, self.call_id)
            return
        copy = Copy(self.answers, blank, answer.chunks)
        try:
            yield replace(answer, chunks=copy.chunks())
            # The caller has it, or hung up: then the rest is read for when it comes back.
            await copy.is_done.wait()
        except SettlementPending:
            await copy.finish(PENDING_SECONDS)
            raise
        except asyncio.CancelledError:
            # The process is stopping. What was charged is at least known to be gone.
            await tasks.finish(copy.finish(0))
            raise
        finally:
            await copy.crew.close()


class Copy:
    def __init__(self, answers: Answers, blank: Kept, source: AsyncIterator[bytes]) -> None:
        self.answers, self.blank, self.source = answers, blank, source
        self.parts: list[bytes] = []
        self.stirred = asyncio.Event()
        self.is_done = asyncio.Event()
        """Everything that can be kept was read, and kept."""
        self.is_longer = False
        self.failure: Exception | None = None
        self.crew = Crew()
        self.crew.start(self.read())

    async def read(self) -> None:
        length = 0
        try:
            async for part in self.source:
                self.parts.append(part)
                self.stirred.set()
                length += len(part)
                if length > self.answers.bytes_max:
                    self.is_longer = True
                    break
        except Exception as error:
            # Whatever it is, it is raised again where the answer is passed on.
            self.failure = error
        omitted: Omitted | None = "too_large" if self.is_longer else "cut_short" if self.failure else None
        await self.keep(omitted)
        self.is_done.set()
        self.stirred.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        position = 0
        while True:
            while position < len(self.parts):
                yield self.parts[position]
                position += 1
            if self.is_done.is_set():
                break
            self.stirred.clear()
            await self.stirred.wait()
        if self.failure is not None:
            raise self.failure
        self.parts.clear()
        if self.is_longer:
            async for part in self.source:
                yield part

    async def finish(self, seconds: float) -> None:
        """Read what is left within this time, or write down that it is not kept."""
        if self.is_done.is_set():
            return
        try:
            await asyncio.wait_for(self.is_done.wait(), seconds)
        except TimeoutError:
            await self.crew.close()
            await self.keep("cut_short")

    async def keep(self, omitted: Omitted | None) -> None:
        body = None if omitted else b"".join(self.parts)
        kept = replace(self.blank, body=body, omitted=omitted)
        await stored(self.answers.keep(kept), self.blank.call_id)


def seen(answer: Answer, bytes_max: int) -> bytes | None:
    """The body, when it is all here and short enough to be kept."""
    body = answer.chunks.seen() if isinstance(answer.chunks, Arriving) else None
    return body if body is not None and len(body) <= bytes_max else None


async def stored(storing: Awaitable[None], call_id: UUID) -> None:
    try:
        await storing
    except (*OUTAGES, asyncpg.PostgresError):
        # The caller has its answer all the same; only asking again will not.
        log.exception("answer.not_kept", call_id=str(call_id))
