"""What is said in one turn of the loop, written when all of it is there.

A write wakes whoever sleeps at the other end, and where that is a program on this machine, waking it takes
longer than the rest of the write. While the next is thought of it falls asleep again; when one write follows
another it is awake already.
"""

import asyncio


class Outbox:
    """For connections whose other ends are much the same processes."""

    __slots__ = ("loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, data: bytes, company: int) -> None:
        """It is written before anything that the loop is asked for from here on. Who closes the transport
        before that, or writes to it, has it sent first.

        ``company`` is how many may say something, with the one that does: who is alone waits for nobody.
        """
        if company <= 1:
            if self.waiting:
                # The others went in this very turn, and what was said before them may be to the same one.
                self.send()
            transport.write(data)
            return
        if not self.waiting:
            self.loop.call_soon(self.send)
        self.waiting.append((transport, data))

    def send(self) -> None:
        waiting, self.waiting = self.waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
