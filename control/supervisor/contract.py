"""What a process owes the supervisor: to say when it is ready, and to end when it is told to."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

READY = "ready"
"""Written to standard output, on a line of its own."""


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run it until SIGTERM cancels it; what it does about the calls under way is its own affair."""
    task = asyncio.current_task()
    assert task is not None
    cancel: Callable[[], object] = task.cancel
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, cancel)
    try:
        await work
    except asyncio.CancelledError:
        return


def tell_ready() -> None:
    sys.stdout.write(READY + "\n")
    sys.stdout.flush()
