"""Group commit: what arrives together is committed together.

A batch starts as soon as a lane is free and takes whatever has queued up meanwhile, so a lone caller never
waits for company and a crowd shares one transaction.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gateway.kit.tasks import Crew

Item = TypeVar("Item")
Result = TypeVar("Result")


class Group(Generic[Item, Result]):
    """Runs ``run`` on batches of items. It returns one result for each item, in their order."""

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        lanes: int = 2,
        size_max: int = 256,
    ) -> None:
        self.run = run
        self.lanes_free = lanes
        self.size_max = size_max
        self.waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self.crew = Crew()
        self.is_scheduled = False

    async def add(self, item: Item) -> Result:
        """Return once the item's batch is committed.

        A caller that is cancelled does not take its item back: wrap this in ``tasks.finish`` when the result
        obliges to something.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        self.waiting.append((item, done))
        if self.lanes_free and not self.is_scheduled:
            # At the end of this tick of the loop, when everybody who is ready now has been added.
            self.is_scheduled = True
            loop.call_soon(self.kick)
        return await done

    def kick(self) -> None:
        self.is_scheduled = False
        while self.waiting and self.lanes_free:
            size = min(len(self.waiting), self.size_max)
            batch = [self.waiting.popleft() for _ in range(size)]
            self.lanes_free -= 1
            self.crew.start(self.carry(batch))

    async def carry(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            await self.commit(batch)
        finally:
            self.lanes_free += 1
            self.kick()

    async def commit(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self.run([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, done in batch:
                done.cancel()
            raise
        except Exception as error:
            if len(batch) == 1:
                tell(batch[0][1], error)
                return
            # One bad item must not fail its neighbours, so each gets a transaction of its own.
            for one in batch:
                await self.commit([one])
            return
        for (_, done), result in zip(batch, results, strict=True):
            if not done.done():
                done.set_result(result)

    async def close(self) -> None:
        """Finish what was added; nothing may be added any more."""
        while self.crew.tasks:
            await asyncio.gather(*self.crew.tasks, return_exceptions=True)


def tell(done: "asyncio.Future[Result]", error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
