"""The total deadline of every exchange, with one timer for all of them.

All have the same time, so the first that was begun is the first that ends.
"""

import asyncio
from typing import Protocol


class Expiring(Protocol):
    def expire(self) -> None: ...


class Deadlines:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.loop = asyncio.get_running_loop()
        self.ends: dict[Expiring, float] = {}
        self.timer: asyncio.TimerHandle | None = None

    def start(self, one: Expiring) -> None:
        end = self.ends[one] = self.loop.time() + self.seconds
        if self.timer is None:
            self.timer = self.loop.call_at(end, self.look)

    def stop(self, one: Expiring) -> None:
        self.ends.pop(one, None)

    def look(self) -> None:
        now = self.loop.time()
        self.timer = None
        for one, end in list(self.ends.items()):
            if end > now:
                self.timer = self.loop.call_at(end, self.look)
                return
            self.stop(one)
            one.expire()

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
