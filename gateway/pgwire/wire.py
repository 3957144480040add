"""One connection while it is set up: messages are waited for. When that is over another protocol takes it."""

import asyncio
from collections.abc import Callable
from typing import cast

from gateway.pgwire.messages import HEAD, Gone, violation

# Between the two sides of a session so much is on its way before the faster one has to wait.
BUFFER_BYTES_MAX = 1 << 20
# Nobody who is still being let in has more to say.
AHEAD_BYTES_MAX = 1 << 16
# For what was written last to be taken by a client that may have stopped reading.
LINGER_SECONDS = 10.0


class Wire(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, begun: bytes = b"") -> None:
        self.buffer = bytearray(begun)
        self.arrival: asyncio.Future[None] | None = None
        self.is_lost = False
        self.on_lost: Callable[[], object] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(BUFFER_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) > AHEAD_BYTES_MAX:
            self.transport.pause_reading()
        self.stir()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self.stir()
        self.on_lost()

    def stir(self) -> None:
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_result(None)

    async def read(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if self.is_lost:
                raise Gone
            self.arrival = asyncio.get_running_loop().create_future()
            await self.arrival
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def message(self, bytes_max: int = AHEAD_BYTES_MAX) -> tuple[bytes, bytes]:
        """Its type and its body."""
        kind, length = HEAD.unpack(await self.read(HEAD.size))
        if not 4 <= length <= bytes_max:
            raise violation("invalid message length")
        return kind, await self.read(length - 4)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def say_goodbye(self, data: bytes) -> None:
        """Returns when the other side has hung up. What it still says is not listened to."""
        if self.transport.is_closing():
            return
        self.transport.write(data)
        if not self.transport.can_write_eof():
            # Encryption has an end of its own, which closing says.
            return
        self.transport.write_eof()
        let_go(self.transport)
        while not self.is_lost:
            self.buffer.clear()
            self.arrival = asyncio.get_running_loop().create_future()
            await self.arrival

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """What came ahead goes to its new owner, in front of what follows."""
        self.transport.set_protocol(protocol)
        ahead = bytes(self.buffer)
        if len(ahead) > AHEAD_BYTES_MAX:
            self.transport.resume_reading()
        if ahead:
            protocol.data_received(ahead)


def hold(transport: asyncio.Transport) -> None:
    """Read no more from it for now."""
    if not transport.is_closing():
        transport.pause_reading()


def let_go(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


def part(transport: asyncio.Transport) -> None:
    """Close it when what was written is taken, and in a while all the same."""
    if not transport.is_closing():
        transport.close()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)
