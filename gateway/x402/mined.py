"""What was mined, for all who wait for it: the chain is asked for the height, and for receipts when it has
grown.

Who is new is asked for at once, because some chains mine what they are sent. After that nothing can have
changed until there is another block, so a thousand who wait cost one question at a time.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.kit.tasks import Crew
from gateway.x402.chain import Chain, NodeRefused, number
from gateway.x402.facilitator import FacilitatorUnavailable
from gateway.x402.questions import Request
from gateway.x402.token import Proofs

PAUSE_SECONDS_MIN = 0.005
PAUSE_SECONDS_MAX = 1.0
# As long as it is not known how fast the chain is.
PAUSE_SECONDS = 0.02
# How often to ask between one block and the next, by how long the last one took.
LOOKS_PER_BLOCK = 8
# So many are asked for with those who are new, whether or not the chain has grown: it is the same request.
FEW = 8

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Awaited:
    """What all wait for whose payments are in the same transaction."""

    hashes: Sequence[str]
    """Any of them: a transaction and what replaces it."""
    depth: int
    found: "asyncio.Future[Proofs]"
    waiting: int = 0
    is_new: bool = True

    @property
    def questions(self) -> list[Request]:
        return [("eth_getTransactionReceipt", [one]) for one in self.hashes]


class Mined:
    """One network's, in this process."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.awaited: dict[tuple[str | int, ...], Awaited] = {}
        self.stirred = asyncio.Event()
        self.crew = Crew()
        self.height = -1
        self.grown_at = 0.0
        self.pause_seconds = PAUSE_SECONDS
        """Between looks, by how fast the chain grew when somebody waited for it."""
        self.is_following = False

    async def close(self) -> None:
        await self.crew.close()

    async def proofs(self, hashes: Sequence[str], depth: int, seconds: float) -> Proofs | None:
        """Of whichever is mined, from its receipt, once so many blocks say so; None when none is in time."""
        key: tuple[str | int, ...] = (*hashes, depth)
        one = self.awaited.get(key)
        if one is None:
            one = self.awaited[key] = Awaited(hashes, depth, asyncio.get_running_loop().create_future())
            self.stirred.set()
        if not self.is_following:
            self.is_following = True
            self.crew.start(self.follow())
        one.waiting += 1
        try:
            # Whoever is cancelled while waiting takes nothing from the others.
            await asyncio.wait([one.found], timeout=seconds)
        finally:
            one.waiting -= 1
            if not one.waiting:
                del self.awaited[key]
        return one.found.result() if one.found.done() else None

    async def follow(self) -> None:
        """Until nobody waits any more."""
        pause, self.height, self.grown_at = self.pause_seconds, -1, time.monotonic()
        try:
            while self.awaited:
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
            missing = self.missing()
            is_few = len(missing) <= FEW
            await self.look(missing if is_few else [one for one in missing if one.is_new])
            if before < 0:
                return pause_seconds
            if self.height != before:
                if not is_few:
                    await self.look(self.missing())
                return self.seconds_between_looks()
        except (FacilitatorUnavailable, NodeRefused) as error:
            log.warning("receipts.unknown", reason=str(error))
            # Whoever is new must not make the loop ask a node that is away again and again.
            await asyncio.sleep(pause_seconds)
        return min(pause_seconds * 1.5, PAUSE_SECONDS_MAX)

    def missing(self) -> list[Awaited]:
        return [one for one in self.awaited.values() if not one.found.done()]

    def seconds_between_looks(self) -> float:
        now = time.monotonic()
        took, self.grown_at = now - self.grown_at, now
        self.pause_seconds = min(max(took / LOOKS_PER_BLOCK, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
        return self.pause_seconds

    async def look(self, awaited: Sequence[Awaited]) -> None:
        asked = [question for one in awaited for question in one.questions]
        height, *answers = await self.chain.ask_each(("eth_blockNumber", []), *asked)
        self.height = number(height)
        receipts = iter(answers)
        for one in awaited:
            one.is_new = False
            # One that cannot be read is none yet, and the others are the others'.
            mined = [found for _ in one.hashes if isinstance(found := next(receipts), dict)]
            deep = [receipt for receipt in mined if self.is_deep(receipt, one.depth)]
            if deep and not one.found.done():
                one.found.set_result(Proofs(deep[0]))

    def is_deep(self, receipt: Mapping[str, Any], depth: int) -> bool:
        try:
            return number(receipt.get("blockNumber")) <= self.height - depth + 1
        except FacilitatorUnavailable:
            return False
