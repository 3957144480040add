"""A function that is run once, a moment after it was first asked for."""

import asyncio
from collections.abc import Callable


class Later:
    __slots__ = ("handle", "run")

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run
        self.handle: asyncio.TimerHandle | None = None
        """Of the loop, while it is asked for."""

    @property
    def is_set(self) -> bool:
        return self.handle is not None

    def within(self, seconds: float) -> None:
        if self.handle is None:
            self.handle = asyncio.get_running_loop().call_later(seconds, self.go)

    def go(self) -> None:
        self.handle = None
        self.run()

    def cancel(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
