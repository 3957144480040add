"""Receipts, for all who wait for one: the chain is asked for the height, and for receipts when it has grown.

Who is new is asked for at once, because some chains mine what they are sent. After that nothing can have
changed until there is another block, so a thousand who wait cost one question at a time.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog

from gateway.kit.tasks import Crew
from gateway.x402.chain import Chain, NodeRefused, number
from gateway.x402.facilitator import FacilitatorUnavailable
from gateway.x402.questions import Request

PAUSE_SECONDS_MIN = 0.02
PAUSE_SECONDS_MAX = 1.0
# How often to ask between one block and the next, by how long the last one took.
LOOKS_PER_BLOCK = 8

log = structlog.get_logger(__name__)

Receipt: TypeAlias = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Waiter:
    hashes: Sequence[str]
    """Any of them: a transaction and what replaces it."""
    depth: int
    found: "asyncio.Future[Receipt]"
    is_new: bool = True

    @property
    def questions(self) -> list[Request]:
        return [("eth_getTransactionReceipt", [one]) for one in self.hashes]


class Mined:
    """One network's, in this process."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.waiting: set[Waiter] = set()
        self.stirred = asyncio.Event()
        self.crew = Crew()
        self.height = -1
        self.grown_at = 0.0
        self.is_following = False

    async def close(self) -> None:
        await self.crew.close()

    async def receipt(self, hashes: Sequence[str], depth: int, seconds: float) -> Receipt | None:
        """The receipt of whichever is mined, once so many blocks say so; None when there is none in time."""
        waiter = Waiter(hashes, depth, asyncio.get_running_loop().create_future())
        self.waiting.add(waiter)
        self.stirred.set()
        if not self.is_following:
            self.is_following = True
            self.crew.start(self.follow())
        try:
            async with asyncio.timeout(seconds):
                return await waiter.found
        except TimeoutError:
            return None
        finally:
            self.waiting.discard(waiter)

    async def follow(self) -> None:
        """Until nobody waits any more."""
        pause, self.height, self.grown_at = PAUSE_SECONDS_MIN, -1, time.monotonic()
        try:
            while self.waiting:
                self.stirred.clear()
                pause = await self.turn(pause)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stirred.wait(), pause)
        finally:
            self.is_following = False

    async def turn(self, pause_seconds: float) -> float:
        """Look once, and return how long to wait unless somebody new comes."""
        before = self.height
        try:
            await self.look([one for one in self.waiting if one.is_new])
            if self.height != before:
                await self.look([one for one in self.waiting if not one.found.done()])
                return self.seconds_between_looks()
        except (FacilitatorUnavailable, NodeRefused) as error:
            log.warning("receipts.unknown", reason=str(error))
            # Whoever is new must not make the loop ask a node that is away again and again.
            await asyncio.sleep(pause_seconds)
        return min(pause_seconds * 1.5, PAUSE_SECONDS_MAX)

    def seconds_between_looks(self) -> float:
        now = time.monotonic()
        took, self.grown_at = now - self.grown_at, now
        return min(max(took / LOOKS_PER_BLOCK, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)

    async def look(self, waiters: Sequence[Waiter]) -> None:
        asked = [question for one in waiters for question in one.questions]
        height, *answers = await self.chain.ask_each(("eth_blockNumber", []), *asked)
        self.height = number(height)
        receipts = iter(answers)
        for waiter in waiters:
            waiter.is_new = False
            # One that cannot be read is none yet, and the others are the others'.
            mined = [found for _ in waiter.hashes if isinstance(found := next(receipts), dict)]
            deep = [one for one in mined if self.is_deep(one, waiter.depth)]
            if deep and not waiter.found.done():
                waiter.found.set_result(deep[0])

    def is_deep(self, receipt: Receipt, depth: int) -> bool:
        try:
            return number(receipt.get("blockNumber")) <= self.height - depth + 1
        except FacilitatorUnavailable:
            return False
