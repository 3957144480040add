"""What a process owes the supervisor: to say when it is ready, and to end when it is told to."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

READY = "ready"
"""Written to standard output, on a line of its own."""

LEAVING = "leaving"
"""Written when it has been told to end: from now on it takes no new connections, and another one may."""


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run it until SIGTERM cancels it; what it does about the calls under way is its own affair."""
    task = asyncio.current_task()
    assert task is not None
    told: list[bool] = []

    def leave() -> None:
        # Once: a second signal must not cut short what the first one let finish.
        if not told:
            told.append(True)
            # Nobody may be listening any more.
            with suppress(OSError):
                tell(LEAVING)
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    try:
        await work
    except asyncio.CancelledError:
        return


def tell_ready() -> None:
    tell(READY)


def tell(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
