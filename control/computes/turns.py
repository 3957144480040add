"""One after the other, for each project by itself: what takes as long as a tenant's data is large."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from control.computes.provider import ComputeUnavailable

# Who come after that many are told so, and do not wait for minutes.
WAITING_MAX = 8


@dataclass(slots=True)
class Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    count: int = 0


class Turns:
    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}

    @asynccontextmanager
    async def of(self, project: str) -> AsyncIterator[None]:
        queue = self.queues.setdefault(project, Queue())
        if queue.count >= WAITING_MAX:
            raise ComputeUnavailable("the project's log is being read for others; try again")
        queue.count += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.count -= 1
            if not queue.count:
                del self.queues[project]
