"""What an upstream answers, read strictly and without a connection: bytes in, a head and its body out.

RFC 9112 lets a reader repair much. Here nothing is repaired, because what two readers may take for two
different answers would be one caller's answer in the hands of the next: folded lines, bare line feeds,
lengths that are repeated or stand beside chunks, and chunks that are not as long as they say are an error,
and the connection ends with it.
"""

import re
from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from typing import TypeAlias

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.types import Head

Pass: TypeAlias = Callable[[CIMultiDictProxy[str]], CIMultiDictProxy[str]]
"""Which of an upstream's headers its caller may see."""

HEAD_BYTES_MAX = 1 << 16
FIELDS_MAX = 128
INTERIM_MAX = 8
# Of one chunk's size with what is said beside it, and of all trailers.
LINE_BYTES_MAX = 1 << 12
TRAILER_BYTES_MAX = 1 << 14
REMEMBERED_BYTES_MAX = 1 << 11

# RFC 9112 sections 4 and 5, RFC 9110 section 5.6.2. Whoever leaves the reason out may leave its space out.
STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
FIELDS = re.compile(rb"(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*)*")
LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*)?")
# The same line with its end. Without what may be said beside a size, which nobody does.
PLAIN_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")


class Improper(Exception):
    """The answer cannot be read in one way only, or not at all."""


class Part(Enum):
    HEAD = auto()
    LENGTH = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    UNTIL_CLOSE = auto()
    DONE = auto()


class Reading:
    """One answer to one request. After an ``Improper`` it is not to be used any more."""

    __slots__ = (
        "buffer", "interim_count", "is_answer_to_head", "is_kept", "is_surplus", "left", "part", "said",
        "status",
    )  # fmt: skip

    def __init__(self, method: str) -> None:
        self.is_answer_to_head = method == "HEAD"
        self.part = Part.HEAD
        self.buffer = b""
        self.left = self.interim_count = 0
        self.status = 0
        """0 until the head is there."""
        self.said = NOTHING
        self.is_kept = False
        """Whether the upstream keeps the connection for another request."""
        self.is_surplus = False
        """Whether there came more than the answer."""

    @property
    def reason(self) -> str:
        return self.said.reason

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self.said.headers

    @property
    def is_done(self) -> bool:
        return self.part is Part.DONE

    def feed(self, data: bytes) -> bytes:
        """What of the body is in ``data``. A first head comes with the body that came with it."""
        if self.buffer:
            data, self.buffer = self.buffer + data, b""
        if self.part is Part.HEAD:
            data = self.read_head(data)
        if self.part is Part.LENGTH:
            return self.read_length(data)
        if self.part is Part.UNTIL_CLOSE:
            return data
        if self.part is Part.DONE:
            self.is_surplus = self.is_surplus or bool(data)
            return b""
        return b"" if self.part is Part.HEAD else self.read_chunks(data)

    def feed_eof(self) -> None:
        """The upstream says no more."""
        if self.part is Part.UNTIL_CLOSE:
            self.part = Part.DONE
        elif self.part is not Part.DONE:
            raise Improper("the answer ended before it was complete")

    def read_head(self, data: bytes) -> bytes:
        """Take the head out of ``data`` and return what is behind it."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end > HEAD_BYTES_MAX or (end < 0 and len(data) > HEAD_BYTES_MAX):
                raise Improper("the head is too large")
            if end < 0:
                self.buffer = data
                return b""
            said = read(data[:end])
            data = data[end + 4 :]
            if said.status >= 200:
                self.begin(said)
                return data
            self.interim_count += 1
            if said.status == 101 or self.interim_count > INTERIM_MAX:
                raise Improper("it wants to change protocols, or says too often that it will answer")

    def begin(self, said: "Said") -> None:
        self.said, self.status = said, said.status
        self.is_kept, self.left, self.part = said.is_kept, said.length, said.part
        if self.is_answer_to_head or said.is_bodiless:
            self.is_kept = said.is_kept_without_body
            self.left, self.part = 0, Part.DONE

    def read_length(self, data: bytes) -> bytes:
        size = len(data)
        if size < self.left:
            self.left -= size
            return data
        if size > self.left:
            self.is_surplus = True
            data = data[: self.left]
        self.left = 0
        self.part = Part.DONE
        return data

    def read_chunks(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        at = 0
        while True:
            if self.part is Part.CHUNK:
                piece = data[at : at + self.left]
                parts.append(piece)
                at += len(piece)
                self.left -= len(piece)
                if self.left:
                    break
                self.part = Part.CHUNK_END
            if self.part is Part.DONE:
                self.is_surplus = at < len(data)
                break
            if self.part is Part.CHUNK_SIZE:
                at = take_whole(data, at, parts)
            end = data.find(b"\r\n", at)
            if end < 0 or end - at > LINE_BYTES_MAX:
                self.keep(data[at:])
                break
            self.read_line(data[at:end])
            at = end + 2
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def keep(self, rest: bytes) -> None:
        """A line that is not complete yet, and may not become one."""
        if len(rest) > LINE_BYTES_MAX or (self.part is Part.CHUNK_END and rest not in (b"", b"\r")):
            raise Improper("a chunk is not as long as it says")
        self.buffer = rest

    def read_line(self, line: bytes) -> None:
        if self.part is Part.CHUNK_END:
            if line:
                raise Improper("a chunk is not as long as it says")
            self.part = Part.CHUNK_SIZE
        elif self.part is Part.CHUNK_SIZE:
            match = CHUNK.fullmatch(line)
            if match is None:
                raise Improper("a chunk has no size")
            self.left = int(match[1], 16)
            self.part = Part.CHUNK if self.left else Part.TRAILERS
        elif line:
            # Nobody is told of trailers: what they would say was decided by the head.
            self.left += len(line)
            if self.left > TRAILER_BYTES_MAX or not FIELDS.fullmatch(b"\r\n" + line):
                raise Improper("the trailers are not fields, or too many")
        else:
            self.left = 0
            self.part = Part.DONE


class Said:
    """The head of an answer: what it says, and where the body ends by RFC 9112 section 6.3."""

    __slots__ = (
        "headers",
        "heads",
        "is_bodiless",
        "is_kept",
        "is_kept_without_body",
        "length",
        "part",
        "reason",
        "status",
    )

    def __init__(
        self, status: int, reason: str, headers: CIMultiDictProxy[str], *, is_minor_one: bool
    ) -> None:
        self.status, self.reason, self.headers = status, reason, headers
        lengths = headers.getall("Content-Length", ())
        encodings = headers.getall("Transfer-Encoding", ())
        if (lengths and encodings) or len(lengths) > 1 or (encodings and not is_minor_one):
            raise Improper("its length is given in more than one way")
        if lengths and not LENGTH.fullmatch(lengths[0]):
            raise Improper("its length is not a number")
        if encodings and [one.lower() for one in encodings] != ["chunked"]:
            raise Improper("its transfer encoding is not chunked, once")
        options = ",".join(headers.getall("Connection", ())).lower().split(",")
        self.is_kept_without_body = is_minor_one and "close" not in [one.strip() for one in options]
        self.is_kept = self.is_kept_without_body
        self.is_bodiless = status in (204, 304)
        self.length = int(lengths[0]) if lengths else 0
        if encodings:
            self.part = Part.CHUNK_SIZE
        elif lengths:
            self.part = Part.LENGTH if self.length else Part.DONE
        else:
            self.part, self.is_kept = Part.UNTIL_CLOSE, False
        self.heads: dict[Pass, Head] = {}

    def head(self, passed: Pass) -> Head:
        """What its caller may see of it."""
        head = self.heads.get(passed)
        if head is None:
            head = self.heads[passed] = Head(self.status, self.reason, passed(self.headers))
        return head


NOTHING = Said(0, "", CIMultiDictProxy(CIMultiDict()), is_minor_one=False)


def read(head: bytes) -> Said:
    # An upstream says the same again and again, within a second to the letter. What is remembered must not be
    # as large as one can make it.
    return read_again(head) if len(head) <= REMEMBERED_BYTES_MAX else read_lines(head)


def read_lines(head: bytes) -> Said:
    line_end = head.find(b"\r\n")
    line, fields = (head, b"") if line_end < 0 else (head[:line_end], head[line_end:])
    match = STATUS.fullmatch(line)
    if match is None or not FIELDS.fullmatch(fields):
        raise Improper("the head is not one")
    lines = fields.decode(errors="surrogateescape").split("\r\n")
    if len(lines) > FIELDS_MAX + 1:
        raise Improper("there are too many fields")
    headers: CIMultiDict[str] = CIMultiDict()
    for text in lines[1:]:
        name, _, value = text.partition(":")
        headers.add(name, value.strip(" \t"))
    reason = (match[3] or b"").decode(errors="replace")
    return Said(int(match[2]), reason, CIMultiDictProxy(headers), is_minor_one=match[1] == b"1")


read_again = lru_cache(maxsize=512)(read_lines)


def take_whole(data: bytes, at: int, parts: list[bytes]) -> int:
    """Take the chunks that are here with all of their bytes, and return where the first other one begins.

    An upstream that sends its answer byte by byte must not cost the others the time for it.
    """
    match_size = PLAIN_CHUNK.match
    while (match := match_size(data, at)) is not None:
        start = match.end()
        end = start + int(match[1], 16)
        if end == start or data[end : end + 2] != b"\r\n":
            break
        parts.append(data[start:end])
        at = end + 2
    return at
