"""What happened to computes, for any number of readers, each at its own pace."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace

from control.computes.provider import ComputeEvent

EVENTS_MAX = 10_000


class Bulletin:
    """The last so many events. Status tells what they led to, for a reader who was away longer."""

    def __init__(self) -> None:
        # Numbers begin anew with each process, so that they are told apart by whose they are.
        self.run = secrets.token_hex(4)
        self.number = 0
        self.kept: deque[tuple[int, ComputeEvent]] = deque(maxlen=EVENTS_MAX)
        self.news = asyncio.Event()

    def tell(self, event: ComputeEvent) -> None:
        self.number += 1
        self.kept.append((self.number, replace(event, id=f"{self.run}-{self.number}")))
        self.news.set()
        self.news = asyncio.Event()

    async def follow(self, after: str | None) -> AsyncIterator[ComputeEvent]:
        """What comes after an event, or all that is kept when that is none of ours."""
        run, _, number = (after or "").partition("-")
        at = int(number) if run == self.run and number.isdecimal() else 0
        while True:
            # Before the look: what comes during it must not be slept through.
            news = self.news
            for number_of, event in list(self.kept):
                if number_of > at:
                    at = number_of
                    yield event
            await news.wait()
