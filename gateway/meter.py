"""A body that decides what its call costs: counted and read while it passes, charged before its last byte.

Who has the whole answer has paid for it. A caller who hangs up pays for what arrived; where the answer says
at its end what it cost, the end is still read, within bounds, so that hanging up early is not a discount.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TypeAlias

import structlog
from aiohttp import ClientError

from gateway.kit import documents, tasks
from gateway.kit.documents import Found
from gateway.kit.problem import Refusal
from gateway.kit.tasks import Crew
from gateway.tariffs import Used
from gateway.types import Answer, Hold, Metering, Receipt

# How long a body is read on for which nobody waits any more, and how much of it.
REST_SECONDS = 10
REST_BYTES_MAX = 16 << 20

Tell: TypeAlias = Callable[[Receipt], None]
"""Hears what was charged, as soon as that is known."""

log = structlog.get_logger(__name__)


def nobody(receipt: Receipt) -> None:
    """For those who do not want to know."""


class Meter:
    def __init__(self, hold: Hold, metering: Metering, answer: Answer, tell: Tell) -> None:
        self.hold, self.metering, self.answer, self.tell = hold, metering, answer, tell
        headers = answer.head.headers
        self.length = int(length) if (length := headers.get("Content-Length", "")).isdecimal() else None
        self.byte_count = 0
        # An encoded body cannot be read, and was not asked for.
        is_plain = headers.get("Content-Encoding", "identity").lower() == "identity"
        path = metering.tariff.path
        self.found = Found(path, headers.get("Content-Type", "")) if path and is_plain else None
        self.is_whole = False
        self.is_charged = False
        self.crew = Crew()
        self.crew.start(self.charge_in_time())

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self.answer.chunks:
            if self.is_charged:
                raise ConnectionAbortedError("it was charged for what was taken in time")
            self.note(chunk)
            if self.byte_count == self.length:
                self.is_whole = True
                await self.charge()
            yield chunk
        self.is_whole = True
        # A body without a length ends with the connection's next words, and those wait for this.
        await self.charge()

    def note(self, chunk: bytes) -> None:
        self.byte_count += len(chunk)
        if self.found is not None:
            self.found.feed(chunk)

    async def charge(self) -> None:
        if self.is_charged:
            return
        self.is_charged = True
        value = None if self.found is None else documents.amount(self.found.value())
        milliseconds = (time.monotonic_ns() - self.metering.began) // 1_000_000
        rows = self.answer.rows
        row_count = 0 if rows is None else rows.row_count
        used = Used(self.byte_count, milliseconds, row_count, reported=value)
        self.tell(await tasks.finish(self.hold.post(self.answer.head, used)))

    async def charge_in_time(self) -> None:
        """A caller who stops reading must not outwait the hold."""
        await asyncio.sleep(self.metering.seconds_max)
        await self.charge()

    async def close(self) -> None:
        """Charge what has not been charged: the caller is gone, or the upstream broke off."""
        await self.crew.close()
        if self.is_charged:
            return
        if self.found is not None and not self.is_whole:
            with suppress(ClientError, TimeoutError, ConnectionError):
                async with asyncio.timeout(REST_SECONDS):
                    await self.read_rest()
        try:
            await self.charge()
        except Refusal as refusal:
            # Nobody is there to be told.
            log.warning("call.uncharged", problem=refusal.slug)

    async def read_rest(self) -> None:
        most = self.byte_count + REST_BYTES_MAX
        async for chunk in self.answer.chunks:
            self.note(chunk)
            if self.byte_count > most:
                return
