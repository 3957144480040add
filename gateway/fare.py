"""What an open connection is paid with: one hold after another, each for a piece of it.

A hold cannot last as long as a connection, and a balance should not be held for what nobody may use. The next
piece is held before the one before is charged, so there is no moment at which the connection runs unpaid; a
process that dies charges nothing for its last piece.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import ceil
from typing import TypeAlias

import structlog

from gateway import cost
from gateway.kit import tasks
from gateway.kit.problem import Refusal
from gateway.meter import Tell
from gateway.tariffs import Used
from gateway.types import Head, Hold, Metering, Price

Renew: TypeAlias = Callable[[Price], Awaitable[Hold]]
"""Hold the money for another piece; an exception when there is not enough of it."""

log = structlog.get_logger(__name__)


class Fare:
    def __init__(self, hold: Hold, metering: Metering, head: Head, renew: Renew, tell: Tell) -> None:
        self.hold, self.metering, self.head, self.renew, self.tell = hold, metering, head, renew, tell
        # The piece that was held with the connection, without the connection's own price.
        self.piece = metering.price.ceiling - metering.price.base
        self.byte_count = 0
        self.began = time.monotonic_ns()
        self.is_open = True
        # Both directions and the clock spend from one hold.
        self.lock = asyncio.Lock()

    async def carry(self, size: int) -> None:
        """Pay for a message before it is passed on."""
        async with self.lock:
            price, used = self.metering.price, self.used(size)
            if cost.counted(price.base, self.metering.tariff, used) > price.ceiling:
                await tasks.finish(self.turn(size))
            self.byte_count += size

    async def keep_forever(self) -> None:
        """Charge as time passes, so that no hold expires under the connection."""
        pause = min(cost.PIECE_SECONDS, self.metering.seconds_max / 2)
        while True:
            await asyncio.sleep(pause)
            async with self.lock:
                await tasks.finish(self.turn(0))

    def used(self, more: int = 0) -> Used:
        return Used(self.byte_count + more, (time.monotonic_ns() - self.began) // 1_000_000)

    async def turn(self, size: int) -> None:
        """Hold the next piece, then charge the one before."""
        tariff = self.metering.tariff
        # A message may be dearer than a piece.
        amount = max(self.piece, ceil(tariff.per_byte * size + tariff.per_second * cost.PIECE_SECONDS_HELD))
        price = replace(self.metering.price, base=0, floor=0, ceiling=amount)
        renewed = await self.renew(price)
        assert renewed.metering is not None, "what is sold by use is metered"
        before, used = self.hold, self.used()
        self.hold, self.metering = renewed, renewed.metering
        # The part of a millisecond that is left over belongs to the next piece.
        self.byte_count, self.began = 0, self.began + used.milliseconds * 1_000_000
        self.tell(await before.post(self.head, used))

    async def close(self) -> None:
        """Charge the piece that the connection ended in."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            self.tell(await self.hold.post(self.head, self.used()))
        except Refusal as refusal:
            log.warning("call.uncharged", problem=refusal.slug)
