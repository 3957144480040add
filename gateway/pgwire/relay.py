"""A session between a client and a server of its own: bytes pass, and are not looked at."""

import asyncio

from gateway.pgwire import messages
from gateway.pgwire.messages import Fatal
from gateway.pgwire.wire import Wire, hold, let_go, part

# A server that waits for its client, outside a transaction, said this last.
IDLE = messages.ready(b"I")
WAITS = tuple(messages.ready(status) for status in (b"I", b"T", b"E"))


class Side(asyncio.Protocol):
    """What comes from one of the two. Its transport belongs to it, and it writes to the other's."""

    __slots__ = ("moved", "other", "over", "pass_on", "transport")

    def __init__(self, wire: Wire, other: Wire, over: asyncio.Future[None]) -> None:
        self.transport = wire.transport
        self.other = other.transport
        self.pass_on = other.transport.write
        self.over = over
        self.moved = 0

    def pause_writing(self) -> None:
        """Its own peer does not take what the other side sends."""
        hold(self.other)

    def resume_writing(self) -> None:
        let_go(self.other)

    def connection_lost(self, error: Exception | None) -> None:
        part(self.other)
        if not self.over.done():
            self.over.set_result(None)


class Far(Side):
    """The server's side. How the last piece ended tells whether it waits for the client."""

    __slots__ = ("tail",)

    def data_received(self, data: bytes) -> None:
        self.moved += len(data)
        self.tail = data[-6:]
        self.pass_on(data)


class Near(Side):
    __slots__ = ("far",)
    far: Far

    def data_received(self, data: bytes) -> None:
        self.moved += len(data)
        self.far.tail = b""
        self.pass_on(data)


class Relay:
    """Made when both sides are ready; ``run`` lasts as long as they do."""

    def __init__(self, near: Wire, far: Wire) -> None:
        self.near_wire, self.far_wire = near, far
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.near = Near(near, far, self.over)
        self.far = self.near.far = Far(far, near, self.over)
        self.far.tail = IDLE
        self.told = ""
        """The SQLSTATE that ended it, where we did."""

    async def run(self) -> None:
        self.far_wire.hand_over(self.far)
        self.near_wire.hand_over(self.near)
        if self.near_wire.is_lost or self.far_wire.is_lost:
            return
        await self.over

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes from the client and from the server."""
        return self.near.moved, self.far.moved

    @property
    def is_idle(self) -> bool:
        return self.far.tail == IDLE

    def end(self, why: Fatal) -> None:
        transport = self.near.transport
        if not transport.is_closing():
            self.told = why.sqlstate
            # In the middle of an answer there is no place for another.
            if self.far.tail in WAITS:
                transport.write(why.written())
            part(transport)
