"""Group commit: what arrives together is committed together.

A batch starts as soon as a lane is free and takes whatever has queued up meanwhile, so a lone caller never
waits for company and a crowd shares one transaction. One lane is the rule: what a second one would carry at
the same time would wait for the first one's locks; here it waits for the next commit and shares it.

A batch costs both sides as much as twenty of its items. So a group that knows of a crowd waits until its
share of it is there, for no longer than its commits take: while one share is committed, the others are
served. Groups that the same calls pass through, one after the other, share their ``Crowd``. Where a batch is
light it is mostly this process that a small one costs, so it goes as soon as there is nothing else to do
here.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from operator import itemgetter
from typing import Generic, TypeVar

from gateway.kit.later import Later
from gateway.kit.pools import TIMEOUT_SECONDS
from gateway.kit.sql import OUTAGES
from gateway.kit.tasks import Crew, Outcome

# Between two tries of a group that is patient with a database that starts again.
PAUSE_SECONDS = 0.2
# A batch that is small beside the crowd waits as long as a commit takes, and no longer than this.
COMPANY_SECONDS_MAX = 0.005
# A turn of the loop that takes less of the processor found nothing to do.
IDLE_SECONDS = 0.000_03

Item = TypeVar("Item")
Result = TypeVar("Result")


class Waiting(Outcome[Result], Generic[Item, Result]):
    """What becomes of an item."""

    __slots__ = ("item",)

    def __init__(self, item: Item, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.item = item


class Crowd:
    """How many are in a family of groups now, waiting for their batch or in one, or are known to come.

    It is shared out in so many parts as can be on their way at a time, each in another group.
    """

    __slots__ = ("count", "parts")

    def __init__(self, parts: int = 2) -> None:
        self.count = 0
        self.parts = parts

    def share(self) -> int:
        """Of one who is alone, that is all."""
        return -(-self.count // self.parts)


class Group(Generic[Item, Result]):
    """Runs ``run`` on batches of items. It returns one result for each item, in their order.

    ``run`` may be given an item a second time, when it is not known whether the first was committed.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        lanes: int = 1,
        size_max: int = 256,
        patience_seconds: float = 0,
        crowd: Crowd | None = None,
        whose: Callable[[Item], Hashable] | None = None,
        is_light: bool = False,
    ) -> None:
        """``crowd`` is this group's family, ``whose`` says who has turns of their own."""
        self.is_light = is_light
        self.looked_at = 0.0
        self.run = run
        self.patience_seconds = patience_seconds
        self.whose = whose
        self.crowd = crowd or Crowd()
        self.lanes_free = lanes
        self.size_max = size_max
        self.waiting: deque[Waiting[Item, Result]] = deque()
        self.crew = Crew()
        self.is_scheduled = False
        # Asking for it is a question to the kernel, whether this is the process that it was.
        self.loop: asyncio.AbstractEventLoop | None = None
        self.alarm = Later(self.go)
        """Runs while those who wait here are too few."""
        # Of the batches before: how many items the last one had, and how long they took.
        self.size_before = 0
        self.commit_seconds = 0.0

    def add(self, item: Item) -> "asyncio.Future[Result]":
        """The result, once the item's batch is committed.

        A caller that is cancelled does not take its item back, and may have to undo what was done for it.
        """
        loop = self.loop
        if loop is None:
            loop = self.loop = asyncio.get_running_loop()
        done: Waiting[Item, Result] = Waiting(item, loop)
        self.waiting.append(done)
        self.crowd.count += 1
        if self.lanes_free and not self.is_scheduled and (not self.alarm.is_set or self.is_worth_it()):
            if self.is_light and self.crowd.count == 1:
                # Nobody else is there.
                self.go()
            else:
                # At the end of this tick of the loop, when everybody who is ready now has been added.
                self.is_scheduled = True
                loop.call_soon(self.kick)
        return done

    @property
    def is_gathering(self) -> bool:
        """Whether the next batch has begun to fill and goes as soon as it is worth it."""
        return 0 < len(self.waiting) < self.size_max and self.lanes_free > 0

    def kick(self) -> None:
        self.is_scheduled = False
        if not self.waiting or not self.lanes_free:
            return
        if self.is_worth_it() or (self.is_light and self.alarm.is_set and self.has_nothing_to_do()):
            self.go()
        elif self.is_light:
            self.alarm.within(COMPANY_SECONDS_MAX)
            self.looked_at = time.thread_time()
            self.is_scheduled = True
            asyncio.get_running_loop().call_soon(self.kick)
        else:
            self.alarm.within(min(self.commit_seconds, COMPANY_SECONDS_MAX))

    def has_nothing_to_do(self) -> bool:
        """Whether nothing was ready in the turn of the loop since it was looked at."""
        return time.thread_time() - self.looked_at < IDLE_SECONDS

    def is_worth_it(self) -> bool:
        """Whoever came alone the last time goes at once: waiting brought nobody, or nobody was there."""
        return self.size_before <= 1 or len(self.waiting) >= min(self.crowd.share(), self.size_max)

    def go(self) -> None:
        self.alarm.cancel()
        while self.waiting and self.lanes_free:
            if self.whose is not None and len(self.waiting) > self.size_max:
                self.waiting = in_turns(self.waiting, self.whose)
            size = min(len(self.waiting), self.size_max)
            batch = [self.waiting.popleft() for _ in range(size)]
            self.lanes_free -= 1
            self.crew.start(self.carry(batch))

    async def carry(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self.commit(batch)
        finally:
            self.size_before = len(batch)
            self.commit_seconds += (loop.time() - began - self.commit_seconds) / 8
            self.lanes_free += 1
            self.crowd.count -= len(batch)
            self.kick()

    async def commit(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        error = await self.attempt(batch)
        if isinstance(error, TimeoutError):
            # Those behind it have waited for the same silence, and nothing was sent for them.
            fail([*batch, *self.waiting], error)
            self.crowd.count -= len(self.waiting)
            self.waiting.clear()
        elif isinstance(error, OUTAGES):
            # The answer may have been lost on the way back, so it is asked for again.
            error = await self.insist(batch)
            if isinstance(error, OUTAGES):
                fail(batch, error)
        if error is not None and not isinstance(error, OUTAGES):
            await self.divide(batch)

    async def divide(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        """A bad item must not fail its neighbours: halves are tried, and halves of those that fail."""
        half = len(batch) // 2
        for part in (batch[:half], batch[half:]):
            if not part or (error := await self.attempt(part)) is None:
                continue
            if len(part) == 1 or isinstance(error, OUTAGES):
                fail(part, error)
            else:
                await self.divide(part)

    async def insist(self, batch: Sequence[Waiting[Item, Result]]) -> Exception | None:
        """Once more, or as long as there is patience."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience_seconds
        while (error := await self.attempt(batch)) is not None:
            if isinstance(error, TimeoutError) or not isinstance(error, OUTAGES) or loop.time() > deadline:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        return error

    async def attempt(self, batch: Sequence[Waiting[Item, Result]]) -> Exception | None:
        """Run the batch and hand out its results; the error, for the caller to deal with, if it failed."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                results = await self.run([one.item for one in batch])
        except asyncio.CancelledError:
            fail(batch, asyncio.CancelledError())
            raise
        except Exception as error:
            return error
        if self.waiting and self.loop is not None:
            # The next batch is on its way before this one's callers go on, who keep the process busy for as
            # long as a commit takes.
            self.loop.call_soon(hand_out, batch, results)
        else:
            hand_out(batch, results)
        return None

    async def close(self) -> None:
        """Finish what was added; nothing may be added any more."""
        while self.waiting or self.crew.tasks:
            self.go()
            await asyncio.gather(*self.crew.tasks, return_exceptions=True)


def in_turns(
    waiting: Iterable[Waiting[Item, Result]], whose: Callable[[Item], Hashable]
) -> deque[Waiting[Item, Result]]:
    """Everybody's first, then everybody's second: who has a thousand is not in the way of who has one."""
    before: Counter[Hashable] = Counter()
    turns = []
    for one in waiting:
        owner = whose(one.item)
        turns.append(before[owner])
        before[owner] += 1
    ranked = sorted(zip(turns, waiting, strict=True), key=itemgetter(0))
    return deque(one for _, one in ranked)


def hand_out(batch: Sequence[Waiting[Item, Result]], results: Sequence[Result]) -> None:
    for one, result in zip(batch, results, strict=True):
        if not one.done():
            one.set_result(result)


def fail(batch: Sequence[Waiting[Item, Result]], error: BaseException) -> None:
    for one in batch:
        if not one.done():
            one.set_exception(error)
