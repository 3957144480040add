"""Bytes of a connection to requests: heads by aiohttp's parser, the bodies behind them by ours.

The parser is shown a head to its last byte and nothing behind it. Left to itself it takes the last trailer of
one request for a header of the next, drops what comes behind an Upgrade to a protocol that it does not know,
and copies each piece of a body.
"""

from typing import Any

from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from gateway.front.framing import flaw_of_encoding
from gateway.kit.body import RequestBroken
from gateway.kit.chunks import Chunks, Improper

END = b"\r\n\r\n"
# What of a body waits here for its reader before its sender has to wait: twice this.
READ_AHEAD_BYTES = 1 << 16


class Length:
    """A body of a length that its head says."""

    __slots__ = ("left", "rest")

    def __init__(self, length: int) -> None:
        self.left = length
        self.rest = b""
        """What came behind the end."""

    @property
    def is_done(self) -> bool:
        return self.left == 0

    def feed(self, data: bytes) -> bytes:
        body = data
        if len(data) > self.left:
            body, self.rest = data[: self.left], data[self.left :]
        self.left -= len(body)
        return body


class Incoming(RequestHandler):
    __slots__ = ("body", "framing", "held", "is_broken", "seen")

    def __init__(self, manager: Any, **settings: Any) -> None:
        super().__init__(manager, read_bufsize=READ_AHEAD_BYTES, **settings)
        self._parser = HttpRequestParser(
            self, self._loop, READ_AHEAD_BYTES, response_with_body=False, max_headers=self.max_headers,
            max_line_size=self.max_line_size, max_field_size=self.max_field_size,
            max_msg_queue_size=self._max_msg_queue_size,
        )  # fmt: skip
        self.framing: Length | Chunks | None = None
        """Of the body that is arriving."""
        self.body: StreamReader | None = None
        """The one that arrives, or the last that did."""
        self.seen = b""
        """The last bytes of a head that is not complete: its end may be in two pieces."""
        self.held = b""
        """What is not looked at yet, because enough requests wait already."""
        self.is_broken = False
        """Whether it is not certain any more where a request would begin."""

    def read(self, data: bytes) -> None:
        """Take requests, and parts of them, out of what came."""
        if self.held:
            data, self.held = self.held + data, b""
        while data and not self.is_broken:
            if self._upgraded:
                RequestHandler.data_received(self, data)
                return
            if len(self._messages) >= self._max_msg_queue_size:
                self.held = data
                return
            data = self.read_head(data) if self.framing is None else self.read_body(self.framing, data)

    def read_head(self, data: bytes) -> bytes:
        """Returns what is behind it."""
        at = (self.seen + data).find(END) if self.seen else data.find(END)
        end = len(data) if at < 0 else at + len(END) - len(self.seen)
        head, count = data[:end], self._request_count
        RequestHandler.data_received(self, head)
        if self._request_count == count:
            # It is not complete, or these were empty lines before it.
            self.seen = (self.seen + head)[-3:]
        else:
            self.seen = b""
            self.begin(is_ended=at >= 0)
        return data[end:]

    def begin(self, *, is_ended: bool) -> None:
        """A head is complete."""
        message, _ = self._messages[-1]
        if isinstance(message, _ErrInfo):
            self.is_broken = True
        elif not is_ended:
            self.refuse("the head does not end with an empty line")
        elif "Transfer-Encoding" in message.headers and flaw_of_encoding(message):
            # Whoever serves it says what is wrong.
            self.is_broken = True
        elif (framing := framing_of(message)) is not None:
            if self._upgraded:
                self._upgraded = False
                self.refuse("a request for another protocol has a body")
                return
            self.framing = framing
            self.body = StreamReader(self, READ_AHEAD_BYTES, loop=self._loop)
            self._messages[-1] = message, self.body

    def read_body(self, framing: Length | Chunks, data: bytes) -> bytes:
        """Returns what is behind it."""
        body = self.body
        assert body is not None, "made with its framing"
        try:
            piece = framing.feed(data)
        except Improper as error:
            if self._messages and self._messages[-1][1] is body:
                self.refuse(str(error))
            else:
                self.break_off(RequestBroken("the request's body is not framed as its head says"))
            return b""
        if piece:
            body.feed_data(piece)
        if not framing.is_done:
            return b""
        self.framing = None
        body.feed_eof()
        return framing.rest

    def refuse(self, why: str) -> None:
        """In place of a request that nobody has begun to serve."""
        self._messages[-1] = _ErrInfo(400, BadHttpMessage(why), why), EMPTY_PAYLOAD
        self.framing, self.is_broken = None, True

    def break_off(self, reason: Exception) -> None:
        """End a body that is not complete: whoever reads it gets the reason."""
        self.is_broken = True
        if self.framing is not None and self.body is not None:
            self.framing = None
            self.body.set_exception(reason)
            self.body.feed_eof()

    @property
    def is_between(self) -> bool:
        """Whether all that came was whole requests."""
        return not (self.seen or self.held or self.framing or self.is_broken or self._upgraded)

    def decline_upgrade(self) -> None:
        """The answer is in HTTP, and so is what came behind the request for something else."""
        if not self._upgraded or self._messages or self._payload_parser is not None or self._parser is None:
            return
        self._parser.set_upgraded(False)
        self._upgraded = False
        self.held, self._message_tail = self._message_tail, b""
        if self._buffer_paused:
            self._resume_reading_for_buffer()

    # aiohttp's, without the parser's part in it: it has nothing that could wait.

    def pause_reading(self) -> None:
        self._reading_paused = True
        self._pause_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002
        self._reading_paused = False
        if not self._buffer_paused:
            self._resume_transport_reading()


def framing_of(message: RawRequestMessage) -> Length | Chunks | None:
    """None for a request without a body."""
    if "Transfer-Encoding" in message.headers:
        return Chunks()
    length = int(message.headers.get("Content-Length", 0))
    return Length(length) if length else None
