"""The answer to a call, written as bytes: its head in one piece, and with it the body that is here already.

RFC 9112 section 6 decides how the caller learns where the body ends: by its length, in chunks, or, before
HTTP/1.1, with the connection. One object is one answer, and remembers that it has begun.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from aiohttp import HttpVersion11, web
from aiohttp.client_exceptions import ClientConnectionResetError
from multidict import CIMultiDict

from gateway.front.arrived import AnyRequest, Arrived
from gateway.kit.chunks import write_chunk
from gateway.kit.problem import Problem

if TYPE_CHECKING:
    from gateway.front.connection import Connection

# Behind a larger body the head is a write of its own, which costs less than a copy of both.
JOINED_BYTES_MAX = 1 << 16
REASONS = {status.value: status.phrase for status in HTTPStatus}


class Lines:
    """The head of an answer as it is written, without what the gateway writes for itself."""

    __slots__ = ("day", "framing", "length", "text")

    def __init__(self, status: int, reason: str, headers: CIMultiDict[str]) -> None:
        """``headers`` are its own from here on."""
        length = headers.get("Content-Length")
        self.length = None if length is None else int(length)
        self.framing = "" if length is None else f"Content-Length: {self.length}\r\n"
        for name in OWN:
            headers.popall(name, None)
        self.day: Callable[[int], str] = undated if "Date" in headers else date
        fields = [f"HTTP/1.1 {status} {reason}\r\n"]
        fields += [f"{name}: {value}\r\n" for name, value in headers.items()]
        self.text = "".join(fields)
        # As many line ends as were put there: no value brought one of its own.
        if self.text.count("\n") != len(fields) or self.text.count("\r") != len(fields):
            raise ValueError("a header or a reason has a line end in it")


class Pourable(Protocol):
    """A body that passes itself on."""

    async def pour(self, sink: "Reply") -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def end(self, failure: Exception | None = None) -> None: ...


class Reply:
    __slots__ = (
        "connection", "has_body", "is_chunked", "keep_alive", "left", "lines", "more", "request", "status",
    )  # fmt: skip

    def __init__(
        self, request: AnyRequest, status: int, reason: str, headers: CIMultiDict[str] | Lines, more: str = ""
    ) -> None:
        """``more`` are further fields, with their line ends, of which the gateway knows what is in them.

        ``Lines`` have their status and reason already.
        """
        self.lines = headers if isinstance(headers, Lines) else Lines(status, reason, headers)
        self.more = more
        self.request = request
        connection: Connection = request.protocol  # type: ignore[assignment]
        self.connection = connection
        self.status = status
        self.has_body = request.method != "HEAD" and status not in (204, 304)
        self.is_chunked = False
        self.keep_alive = request.keep_alive and not (connection._close or connection._force_close)
        self.left = self.lines.length
        """Bytes that the head promised and that were not written yet; None where it promised none."""
        if self.left is None or not self.has_body:
            self.frame()

    def frame(self) -> None:
        """Where the head does not say how long the body is."""
        if not self.has_body:
            self.left = 0
        elif self.request.version >= HttpVersion11:
            self.is_chunked = True
        else:
            self.keep_alive = False

    def head(self) -> bytes:
        lines = self.lines
        if self.has_body and self.left is not None:
            framing = lines.framing or f"Content-Length: {self.left}\r\n"
        elif self.is_chunked:
            framing = "Transfer-Encoding: chunked\r\n"
        else:
            # What a GET would have had.
            framing = "" if self.has_body or self.status == 204 else lines.framing
        version = self.request.version
        if not self.keep_alive:
            framing += "Connection: close\r\n"
        elif version is not HttpVersion11 and version < HttpVersion11:
            framing += "Connection: keep-alive\r\n"
        day = lines.day(int(time.time()))
        return f"{lines.text}{self.more}{day}{framing}\r\n".encode(errors="surrogateescape")

    def send_whole(self, body: bytes) -> None:
        """All of it at once. What the caller does not take at once waits in the connection."""
        if not self.has_body:
            body = b""
        elif self.left is None:
            self.left, self.is_chunked = len(body), False
            self.keep_alive = self.request.keep_alive and not self.connection.is_closing
        elif self.left != len(body):
            raise ConnectionAbortedError("the body is not as long as its head says")
        head = self.head()
        transport = self.open_transport()
        if len(body) <= JOINED_BYTES_MAX:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    async def begin(self) -> None:
        self.put(self.head())
        await self.drained()

    async def send(self, chunk: bytes) -> None:
        self.put_part(chunk)
        await self.drained()

    def put_part(self, chunk: bytes) -> None:
        """Of the body, without waiting until the caller takes it."""
        if not (chunk and self.has_body):
            return
        if self.is_chunked:
            write_chunk(self.open_transport(), chunk)
            return
        if self.left is not None:
            self.left -= len(chunk)
            if self.left < 0:
                raise ConnectionAbortedError("the body is longer than its head says")
        self.put(chunk)

    async def pour(self, body: "Pourable") -> None:
        """The body, as it comes and as fast as the caller takes it."""
        connection = self.connection
        await self.drained()
        connection.feeder = body
        try:
            await body.pour(self)
        finally:
            connection.feeder = None

    async def end(self, trailers: Sequence[tuple[str, str]] = ()) -> None:
        if self.is_chunked:
            lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
            self.put(f"0\r\n{lines}\r\n".encode(errors="surrogateescape"))
        elif self.left:
            raise ConnectionAbortedError("the body is shorter than its head says")
        await self.drained()

    def put(self, data: bytes) -> None:
        self.open_transport().write(data)

    def open_transport(self) -> asyncio.Transport:
        transport = self.connection.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the caller is gone")
        self.connection.has_answered = True
        return transport

    async def drained(self) -> None:
        if self.connection.writing_paused:
            await self.connection._drain_helper()

    async def prepare(self, request: web.BaseRequest) -> None:
        """As aiohttp's responses have it: there is nothing left to be done."""

    async def write_eof(self) -> None:
        """The same."""


def put_again(connection: "Connection", lines: Lines, more: str, body: bytes) -> None:
    """An answer that was given before, of a connection that is kept, to a request that is no HEAD."""
    day = lines.day(int(time.time()))
    head = f"{lines.text}{more}{day}Content-Length: {len(body)}\r\n\r\n"
    transport = connection.transport
    if transport is not None and not transport.is_closing():
        transport.write(head.encode(errors="surrogateescape") + body)


# What the gateway writes for itself.
OWN = ("Content-Length", "Transfer-Encoding", "Connection")


@lru_cache(maxsize=2)
def date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"


def undated(second: int) -> str:
    """An upstream has said it."""
    return ""


def refuse(request: AnyRequest, problem: Problem, headers: CIMultiDict[str]) -> Reply:
    """Answer with a problem. Where an answer has begun there is no other: then its connection ends."""
    body = problem.model_dump_json(exclude_none=True).encode()
    return refuse_with(request, problem.status, refusing(problem.status, headers), body)


def refusing(status: int, headers: CIMultiDict[str]) -> Lines:
    headers["Content-Type"] = "application/problem+json"
    headers.setdefault("Server", "farebox")
    return Lines(status, REASONS.get(status, ""), headers)


def refuse_with(request: AnyRequest, status: int, lines: Lines, body: bytes, more: str = "") -> Reply:
    """As ``refuse``, with what is written already. ``more`` are fields that the gateway adds."""
    reply = Reply(request, status, "", lines, more)
    has_begun = request.has_begun if isinstance(request, Arrived) else request.writer.output_size > 0
    if reply.connection.has_answered or has_begun:
        reply.keep_alive = False
        if request.transport is not None:
            request.transport.abort()
        return reply
    # Who does not wait for its refusal is no error.
    with suppress(ConnectionError):
        reply.send_whole(body)
    return reply
