"""The answer to a call, written as bytes: its head in one piece, and with it the body that is here already.

RFC 9112 section 6 decides how the caller learns where the body ends: by its length, in chunks, or, before
HTTP/1.1, with the connection. One object is one answer, and remembers that it has begun.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
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

    __slots__ = ("begin", "framing", "is_dated", "length")

    def __init__(self, status: int, reason: str, headers: CIMultiDict[str]) -> None:
        """``headers`` are its own from here on."""
        length = headers.get("Content-Length")
        self.length = None if length is None else int(length)
        self.framing = b"" if self.length is None else framed(self.length)
        for name in OWN:
            headers.popall(name, None)
        self.is_dated = "Date" in headers
        """By an upstream; else the gateway says when it was."""
        fields = [f"HTTP/1.1 {status} {reason}\r\n"]
        fields += [f"{name}: {value}\r\n" for name, value in headers.items()]
        text = "".join(fields)
        # As many line ends as were put there: no value brought one of its own.
        if text.count("\n") != len(fields) or text.count("\r") != len(fields):
            raise ValueError("a header or a reason has a line end in it")
        # Bytes that are not UTF-8 leave as they came.
        self.begin = text.encode(errors="surrogateescape")

    def with_another(self, value: str, other: str) -> "Lines":
        """The same, with another value in place of one that is nowhere else in it, both without line ends."""
        lines = copy(self)
        lines.begin = self.begin.replace(value.encode(), other.encode())
        return lines

    def head(self, more: str, end: bytes, body: bytes = b"") -> bytes:
        """``more`` are fields of this answer, ``end`` is what comes behind them, and ``body`` behind that."""
        day = b"" if self.is_dated else date(int(time.time()))
        return b"".join((self.begin, more.encode(), day, end, body))


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

    def framing(self) -> bytes:
        """What the gateway says of the body and of the connection, and the end of the head."""
        lines = self.lines
        if self.has_body and self.left is not None:
            framing = lines.framing or framed(self.left)
        elif self.is_chunked:
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            # What a GET would have had.
            framing = b"" if self.has_body or self.status == 204 else lines.framing
        version = self.request.version
        if not self.keep_alive:
            return framing + b"Connection: close\r\n\r\n"
        if version is not HttpVersion11 and version < HttpVersion11:
            return framing + b"Connection: keep-alive\r\n\r\n"
        return framing + b"\r\n"

    def send_whole(self, body: bytes) -> None:
        """All of it at once, and in a crowd with other calls' answers. What the caller does not take at once
        waits in the connection.
        """
        if not self.has_body:
            body = b""
        elif self.left is None:
            self.left, self.is_chunked = len(body), False
            self.keep_alive = self.request.keep_alive and not self.connection.is_closing
        elif self.left != len(body):
            raise ConnectionAbortedError("the body is not as long as its head says")
        transport, end = self.open_transport(), self.framing()
        if len(body) <= JOINED_BYTES_MAX:
            front = self.connection.front
            front.outbox.put(transport, self.lines.head(self.more, end, body), front.calls)
        else:
            transport.write(self.lines.head(self.more, end))
            transport.write(body)

    async def begin(self) -> None:
        self.put(self.lines.head(self.more, self.framing()))
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


def put_again(connection: "Connection", lines: Lines, more: str, end: bytes) -> None:
    """An answer that was given before, of a connection that is kept, to a request that is no HEAD."""
    transport = connection.transport
    if transport is not None and not transport.is_closing():
        connection.front.outbox.put(transport, lines.head(more, end), connection.front.taken)


def framed(length: int) -> bytes:
    return b"Content-Length: %d\r\n" % length


def ended(body: bytes) -> bytes:
    """The end of a head, of an answer with this body on a connection that is kept, and the body."""
    return framed(len(body)) + b"\r\n" + body


# What the gateway writes for itself.
OWN = ("Content-Length", "Transfer-Encoding", "Connection")


@lru_cache(maxsize=2)
def date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


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
