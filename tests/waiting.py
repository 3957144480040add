"""Waiting for what another process, or another task, does in its own time."""

import asyncio
from collections.abc import Callable
from inspect import isawaitable

# Only a test that fails takes so long; what it waits for may be slow where much else runs.
SECONDS_MAX = 30.0


async def until(fact: Callable[[], object], seconds: float = SECONDS_MAX) -> None:
    """Return when ``fact``, which may have to be awaited, is true; ``TimeoutError`` if it never is."""
    async with asyncio.timeout(seconds):
        while True:
            found = fact()
            if await found if isawaitable(found) else found:
                return
            await asyncio.sleep(0.02)
