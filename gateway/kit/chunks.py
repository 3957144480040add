"""A body in chunks (RFC 9112 section 7.1), read strictly and without a connection: bytes in, its own bytes
out. What follows its end is left alone.

Callers and upstreams are read by the same code, because what two readers may take for two different bodies
would be one caller's request, or answer, in the hands of the next.
"""

import asyncio
import re
from enum import Enum, auto

# A larger chunk is written beside its size: three pieces cost less than a copy.
JOINED_BYTES_MAX = 1 << 14
# Of one chunk's size with what is said beside it, and of all trailers.
LINE_BYTES_MAX = 1 << 12
TRAILER_BYTES_MAX = 1 << 14

CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*)?")
# The same line with its end. Without what may be said beside a size, which nobody does.
PLAIN_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t -~\x80-\xff]*?)[\t ]*")


class Improper(Exception):
    """A message cannot be read in one way only, or not at all."""


class Part(Enum):
    SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    DONE = auto()


class Chunks:
    """One body. After an ``Improper`` it is not to be used any more."""

    __slots__ = ("buffer", "left", "part", "rest", "trailers", "trailers_size")

    def __init__(self) -> None:
        self.part = Part.SIZE
        self.buffer = b""
        self.left = self.trailers_size = 0
        self.rest = b""
        """What came behind the end."""
        self.trailers: list[tuple[str, str]] = []

    @property
    def is_done(self) -> bool:
        return self.part is Part.DONE

    def feed(self, data: bytes) -> bytes:
        """What of the body is in ``data``."""
        if self.buffer:
            data, self.buffer = self.buffer + data, b""
        # Copied once, when they are put together.
        view = memoryview(data)
        parts: list[memoryview] = []
        at = 0
        while True:
            if self.part is Part.CHUNK:
                piece = view[at : at + self.left]
                parts.append(piece)
                at += len(piece)
                self.left -= len(piece)
                if self.left:
                    break
                self.part = Part.CHUNK_END
            if self.part is Part.DONE:
                self.rest = data[at:]
                break
            if self.part is Part.SIZE:
                at = take_whole(data, view, at, parts)
            end = data.find(b"\r\n", at)
            if end < 0 or end - at > LINE_BYTES_MAX:
                self.keep(data[at:])
                break
            self.read_line(data[at:end])
            at = end + 2
        return b"".join(parts)

    def keep(self, rest: bytes) -> None:
        """A line that is not complete yet, and may not become one."""
        if len(rest) > LINE_BYTES_MAX or (self.part is Part.CHUNK_END and rest not in (b"", b"\r")):
            raise Improper("a chunk is not as long as it says")
        self.buffer = rest

    def read_line(self, line: bytes) -> None:
        if self.part is Part.CHUNK_END:
            if line:
                raise Improper("a chunk is not as long as it says")
            self.part = Part.SIZE
        elif self.part is Part.SIZE:
            match = CHUNK.fullmatch(line)
            if match is None:
                raise Improper("a chunk has no size")
            self.left = int(match[1], 16)
            self.part = Part.CHUNK if self.left else Part.TRAILERS
        elif line:
            match = TRAILER.fullmatch(line)
            self.trailers_size += len(line)
            if match is None or self.trailers_size > TRAILER_BYTES_MAX:
                raise Improper("the trailers are not fields, or too many")
            name, value = match[1].decode(), match[2].decode(errors="surrogateescape")
            if name.lower() == "transfer-encoding":
                # RFC 9110 section 6.5.1 has no place for it, and readers differ about what it would mean.
                raise Improper("a trailer says how the body was framed")
            self.trailers.append((name, value))
        else:
            self.part = Part.DONE


def take_whole(data: bytes, view: memoryview, at: int, parts: list[memoryview]) -> int:
    """Take the chunks that are here with all of their bytes, and return where the first other one begins.

    Who sends a body byte by byte must not cost the others the time for it.
    """
    match_size = PLAIN_CHUNK.match
    while (match := match_size(data, at)) is not None:
        start = match.end()
        end = start + int(match[1], 16)
        if end == start or data[end : end + 2] != b"\r\n":
            break
        parts.append(view[start:end])
        at = end + 2
    return at


def write_chunk(transport: asyncio.Transport, data: bytes) -> None:
    """``data`` must not be empty: that would be the end."""
    if len(data) <= JOINED_BYTES_MAX:
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
    else:
        transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
