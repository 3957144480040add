"""A load generator that costs little beside what it measures: raw connections, prebuilt requests.

It reads just enough HTTP to find the end of an answer, from servers that are known here; it is no client.
"""

import asyncio
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast


@dataclass(slots=True)
class Measured:
    seconds: float = 0
    cpu_seconds: float = 0
    """Of the processes that are measured."""
    beside_cpu_seconds: float = 0
    """Of what they have beside them: database, cache."""
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    """In order of size, once the turn is over."""
    statuses: dict[bytes, int] = field(default_factory=dict)
    broken: int = 0

    @property
    def calls_per_cpu_second(self) -> float:
        return len(self.latencies) / self.cpu_seconds if self.cpu_seconds else 0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0

    def quantile(self, share: float) -> float:
        count = len(self.latencies)
        return self.latencies[min(int(share * count), count - 1)] if count else float("nan")


class Connection(asyncio.Protocol):
    """Asks again as soon as it is answered, until the time is up or there is nothing left to ask."""

    def __init__(self, requests: Iterator[bytes], until: float, measured: Measured) -> None:
        self.requests = requests
        self.until = until
        self.measured = measured
        self.buffer = b""
        self.missing = 0
        """Of a body whose length is known; such bodies are counted and not kept."""
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
        if self.missing:
            self.missing -= len(data)
        else:
            self.buffer += data
            end = length(self.buffer)
            if end is None:
                return
            self.missing = end - len(self.buffer)
        if self.missing <= 0:
            self.answered()

    def answered(self) -> None:
        self.measured.latencies.append(time.perf_counter() - self.asked)
        status = self.buffer[9:12]
        self.measured.statuses[status] = self.measured.statuses.get(status, 0) + 1
        # Nothing is asked before the answer is there, so what exceeds it is nobody's.
        self.measured.broken += self.missing < 0
        self.buffer, self.missing, self.asked = b"", 0, 0
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
    measured.latencies = array("d", sorted(measured.latencies))
    return measured


def request(method: str, path: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n{lines}\r\n".encode()
