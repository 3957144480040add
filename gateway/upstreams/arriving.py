"""A body as it comes in: what has arrived waits here for its reader, and behind it the upstream does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

# What is read ahead of the reader.
AHEAD_BYTES_MAX = 1 << 16


class Source(Protocol):
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Sink(Protocol):
    """Whoever takes a body as it comes. One that has enough says so by ``pause`` and ``resume``."""

    def put_part(self, data: bytes) -> None: ...


class Arriving(AsyncIterator[bytes]):
    # Most bodies come in one piece, and set few of these.
    size = 0
    is_ended = is_paused = is_touched = False
    failure: Exception | None = None
    waiter: "asyncio.Future[None] | None" = None
    sink: Sink | None = None
    trailers: Sequence[tuple[str, str]] = ()
    """Fields behind the body, when it has ended."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        if self.sink is not None:
            self.pass_on(self.sink, data)
            return
        self.parts.append(data)
        self.size += len(data)
        self.wake()
        if self.size > AHEAD_BYTES_MAX:
            self.pause()

    def complete(self, data: bytes) -> None:
        """All of it at once, before anybody could have begun to wait for it."""
        self.parts, self.is_ended = [data] if data else [], True
        self.size = len(data)

    def end(self, failure: Exception | None = None) -> None:
        """There is no more. What is here is still read, and then the failure."""
        if not self.is_ended:
            self.is_ended, self.failure = True, failure
            self.wake()
            # The connection is the next request's from here on.
            self.resume()

    async def pour(self, sink: Sink) -> None:
        """Pass on what is here and what comes, from one socket to the other, until its end.

        Nobody is woken for a part of it: that would cost more than the part.
        """
        if self.parts:
            sink.put_part(self.take())
        self.sink = sink
        try:
            while not self.is_ended:
                self.waiter = asyncio.get_running_loop().create_future()
                await self.waiter
        finally:
            self.sink = self.waiter = None
            self.resume()
        if self.failure is not None:
            raise self.failure

    def pass_on(self, sink: Sink, data: bytes) -> None:
        try:
            sink.put_part(data)
        except ConnectionError as error:
            self.end(error)

    def pause(self) -> None:
        """The sink's: it has enough."""
        if not (self.is_paused or self.is_ended):
            self.is_paused = True
            self.source.pause()

    def resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            self.source.resume()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def whole(self) -> bytes | None:
        """All of it, where nothing of it is still to come and nobody has begun to read it."""
        if not self.is_ended or self.is_touched or self.failure is not None:
            return None
        if len(self.parts) == 1 and not self.is_paused:
            self.is_touched, self.size = True, 0
            return self.parts.pop()
        return self.take()

    def seen(self) -> bytes | None:
        """``whole``, and it stays here for its reader."""
        if not self.is_ended or self.is_touched or self.failure is not None:
            return None
        if len(self.parts) != 1:
            self.parts = [b"".join(self.parts)] if self.parts else []
        return self.parts[0] if self.parts else b""

    def take(self) -> bytes:
        self.is_touched = True
        data = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts.clear()
        self.size = 0
        self.resume()
        return data

    async def __anext__(self) -> bytes:
        while not self.parts:
            if self.failure is not None:
                raise self.failure
            if self.is_ended:
                raise StopAsyncIteration
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None
        return self.take()
