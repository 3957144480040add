"""Bytes of callers, read by our connection and by h11: what each takes for a request."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import h11
from aiohttp import web
from multidict import CIMultiDict

from config.settings import Listen
from gateway.front.arrived import Arrived
from gateway.front.reply import Reply, refuse
from gateway.front.server import Front
from gateway.kit.problem import Refusal

# Each of them writes or merges these in its own way.
FRAMING = {b"content-length", b"transfer-encoding", b"connection"}


TICKS = 60
SPACES = re.compile(rb"([A-Z]+) +(/[!-~]*) +(HTTP/1\.[01])", re.ASCII)


class Request(NamedTuple):
    """One that arrived from its first byte to its last."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Wire:
    """A socket without a network: what is written to it is kept, and it takes all there is."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: Sequence[bytes]) -> None:
        self.written += b"".join(parts)

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1) if name == "peername" else default

    def pause_reading(self) -> None:
        """Everything is here already."""

    resume_reading = pause_reading


class Ours:
    """Calls, and all that is none, behind one front: what it remembers of one example, the next one meets."""

    def __init__(self) -> None:
        self.front = Front(self.other, Listen(), calls=(is_call, self.call))
        self.seen: list[Request] = []

    async def read(self, pieces: Sequence[bytes]) -> tuple[list[Request], bytes]:
        """The requests that were served whole, and what was answered."""
        self.seen = []
        wire, connection = Wire(), self.front()
        connection.connection_made(wire)  # type: ignore[arg-type]
        for piece in pieces:
            if not wire.is_closed:
                connection.data_received(piece)
                await still()
        if not wire.is_closed:
            connection.eof_received()
        connection.connection_lost(None)
        await still()
        return self.seen, bytes(wire.written)

    async def call(self, request: Arrived) -> Reply:
        try:
            body = request.body or await whole(request)
        except Refusal as refusal:
            return refuse(request, refusal.problem(), CIMultiDict())
        self.note(request.method, request.raw_path, request.headers, body)
        reply = Reply(request, 200, "OK", CIMultiDict())
        reply.send_whole(b"ok")
        return reply

    async def other(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.note(request.method, request.rel_url.raw_path_qs, request.headers, body)
        return web.Response(text="ok")

    def note(self, method: str, target: str, headers: Any, body: bytes) -> None:
        fields = [
            (name.lower().encode(), value.encode(errors="surrogateescape")) for name, value in headers.items()
        ]
        self.seen.append(Request(method.encode(), target.encode(), unframed(fields), body))


async def whole(request: Arrived) -> bytes:
    return b"".join([part async for part in request.content.iter_any()])


def is_call(method: str, path: str) -> bool:
    return path.startswith("/p/")


async def still() -> None:
    """Until nothing moves any more: what is here is served within some ticks, or waits for more."""
    for _ in range(TICKS):
        await asyncio.sleep(0)


def of_h11(data: bytes) -> list[Request]:
    """What h11 takes for whole requests, as far as it reads."""
    found: list[Request] = []
    while data := permitted(data):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
        connection.receive_data(data)
        connection.receive_data(b"")
        try:
            request = next_of(connection)
        except h11.RemoteProtocolError:
            break
        if request is None:
            break
        found.append(request)
        if connection.their_state is h11.MUST_CLOSE and not is_kept_1_0(data):
            break
        data = connection.trailing_data[0]
    return found


def is_kept_1_0(data: bytes) -> bool:
    """h11 keeps no connection of HTTP/1.0; RFC 9112 appendix C.2.2 has those that are asked to be kept."""
    head = data.partition(b"\r\n\r\n")[0].lower()
    options = b",".join(re.findall(rb"\r\nconnection:(.*)", head)).split(b",")
    said = {one.strip(b" \t\r") for one in options}
    return b" http/1.0" in head.partition(b"\r\n")[0] and b"keep-alive" in said and b"close" not in said


def permitted(data: bytes) -> bytes:
    """Without what RFC 9112 lets a server forgive before and in a request's line, and h11 does not."""
    data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n")
    return SPACES.sub(rb"\1 \2 \3", data[:end]) + data[end:] if end > 0 else data


def next_of(connection: h11.Connection) -> Request | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Request(head.method, head.target, unframed(list(head.headers)), body)
        else:
            return None


def unframed(fields: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name, value) for name, value in fields if name not in FRAMING)
