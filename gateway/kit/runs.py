"""A coroutine that runs without a task, until it asks for one or somebody asks for its.

Making a task, and the loop's turn before it begins, take longer than some stages. A ``Run`` begins at once,
within whatever begins it, and goes on where what it waits for is done. It has a context of its own, as a task
has. ``asyncio.timeout`` and the like have to know their task: whoever uses them in a run awaits ``own_task``
first.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any

# What a run is told by ``own_task``.
WANTED = object()


class Run:
    __slots__ = ("awaited", "context", "loop", "task", "work")

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
        self.loop, self.work = loop, work
        self.context = copy_context()
        self.awaited: asyncio.Future[Any] | None = None
        self.task: asyncio.Task[None] | None = None
        """Once there is one, it has the work."""

    def begin(self) -> None:
        self.context.run(self.go_on)

    def go_on(self, done: "asyncio.Future[Any] | None" = None) -> None:
        """Until the work waits again, or ends. ``done`` it finds out about itself."""
        if self.task is not None:
            return
        self.awaited = None
        try:
            awaited = self.work.send(None)
        except (StopIteration, asyncio.CancelledError):
            return
        if awaited is WANTED:
            _ = self.as_task()
        elif awaited is None:
            # ``sleep(0)``.
            self.loop.call_soon(self.go_on, context=self.context)
        else:
            awaited._asyncio_future_blocking = False
            self.awaited = awaited
            awaited.add_done_callback(self.go_on, context=self.context)

    def as_task(self) -> "asyncio.Task[None]":
        """From here on it is one: to be waited for, to be cancelled, and to be known to itself."""
        if self.task is None:
            awaited, self.awaited = self.awaited, None
            if awaited is not None:
                awaited.remove_done_callback(self.go_on)
                awaited._asyncio_future_blocking = True
            self.task = self.loop.create_task(rest(self.work, awaited), context=self.context)
        return self.task


async def rest(work: Coroutine[Any, Any, None], awaited: "asyncio.Future[Any] | None") -> None:
    """What is left of a coroutine that has begun, and waits for this."""
    await passed_on(work, awaited)


@coroutine
def passed_on(
    work: Coroutine[Any, Any, None], awaited: "asyncio.Future[Any] | None"
) -> Generator[Any, Any, None]:
    try:
        while True:
            try:
                yield awaited
            except BaseException as error:
                awaited = work.throw(error)
            else:
                awaited = work.send(None)
            if awaited is WANTED:
                awaited = None
    except StopIteration:
        return


@coroutine
def own_task() -> Generator[Any, Any, None]:
    """To be awaited before what has to know its task."""
    if asyncio.current_task() is None:
        yield WANTED
