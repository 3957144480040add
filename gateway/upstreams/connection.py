"""One kept connection to an upstream. It carries one exchange at a time and knows nothing of calls."""

import asyncio
from typing import TYPE_CHECKING, cast

from gateway.kit.chunks import write_chunk

if TYPE_CHECKING:
    from gateway.upstreams.exchange import Exchange
    from gateway.upstreams.pool import Lane


class Connection(asyncio.Protocol):
    __slots__ = (
        "exchange", "idle_since", "is_open", "is_taken", "is_writable", "lane", "transport", "writer",
    )  # fmt: skip

    def __init__(self, lane: "Lane") -> None:
        self.lane = lane
        self.exchange: Exchange | None = None
        self.is_open = self.is_taken = False
        self.is_writable = True
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0
        """By the sweeps of its pool."""
        self.writer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self.transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.received(data)
        else:
            # Nobody asked: whatever it is, it must not become the answer to the next request.
            self.close()

    def eof_received(self) -> None:
        self.is_open = False
        if self.exchange is not None:
            self.exchange.ended()
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self.transport = None
        self.resume_writing()
        if self.exchange is not None:
            self.exchange.lost(exc)
        self.lane.lost(self)

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self.writer is not None and not self.writer.done():
            self.writer.set_result(None)

    async def drained(self) -> None:
        """Wait until the upstream has taken what was written, or is gone."""
        while not self.is_writable:
            self.writer = asyncio.get_running_loop().create_future()
            try:
                await self.writer
            finally:
                self.writer = None

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def write_chunk(self, data: bytes) -> None:
        if self.transport is not None:
            write_chunk(self.transport, data)

    def pause(self) -> None:
        if self.transport is not None and self.is_open:
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and self.is_open:
            self.transport.resume_reading()

    def close(self) -> None:
        """Now: what is not written yet is not worth waiting for."""
        self.is_open = False
        self.exchange = None
        if self.transport is not None:
            self.transport.abort()
