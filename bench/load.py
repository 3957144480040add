"""A load generator that costs little beside what it measures: raw connections, prebuilt requests.

It reads just enough HTTP to find the end of an answer, from servers that are known here; it is no client.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast


@dataclass(slots=True)
class Measured:
    seconds: float = 0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[bytes, int] = field(default_factory=dict)
    broken: int = 0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0

    def quantile(self, share: float) -> float:
        order = sorted(self.latencies)
        return order[min(int(share * len(order)), len(order) - 1)] if order else float("nan")


class Connection(asyncio.Protocol):
    """Asks again as soon as it is answered, until the time is up or there is nothing left to ask."""

    def __init__(self, requests: Iterator[bytes], until: float, measured: Measured) -> None:
        self.requests = requests
        self.until = until
        self.measured = measured
        self.buffer = b""
        self.asked = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        now = time.perf_counter()
        request = next(self.requests, None) if now < self.until else None
        if request is None:
            self.transport.close()
            return
        self.asked = now
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = length(self.buffer)
        if end is None or len(self.buffer) < end:
            return
        self.measured.latencies.append(time.perf_counter() - self.asked)
        status = self.buffer[9:12]
        self.measured.statuses[status] = self.measured.statuses.get(status, 0) + 1
        self.buffer = self.buffer[end:]
        self.asked = 0
        self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        self.measured.broken += bool(self.asked)
        if not self.done.done():
            self.done.set_result(None)


def length(buffer: bytes) -> int | None:
    """Where the first answer in the buffer ends; None while that cannot be told."""
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = buffer[:head_end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return head_end + 4 + int(head[at + 17 :].partition(b"\r\n")[0])
    last = buffer.find(b"\r\n0\r\n\r\n", head_end)
    return None if last < 0 else last + 7


async def load(
    port: int, requests: Iterator[bytes], *, connections: int, seconds: float, patience: float = 5
) -> Measured:
    """``requests`` is shared by all connections. What is not answered a while after the end is broken."""
    measured = Measured()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = await asyncio.gather(
        *(
            loop.create_connection(lambda: Connection(requests, began + seconds, measured), "127.0.0.1", port)
            for _ in range(connections)
        )
    )
    pending = [connection.done for _, connection in made]
    _, late = await asyncio.wait(pending, timeout=seconds + patience)
    # Before the late ones are counted as broken by closing them.
    measured.seconds = time.perf_counter() - began
    for transport, _ in made:
        transport.abort()
    if late:
        await asyncio.wait(late, timeout=1)
    return measured


def request(method: str, path: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n{lines}\r\n".encode()
