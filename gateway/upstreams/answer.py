"""What an upstream answers, read strictly and without a connection: bytes in, a head and its body out.

RFC 9112 lets a reader repair much. Here nothing is repaired, because what two readers may take for two
different answers would be one caller's answer in the hands of the next: folded lines, bare line feeds,
lengths that are repeated or stand beside chunks, and chunks that are not as long as they say are an error,
and the connection ends with it.
"""

import re

from multidict import CIMultiDictProxy

from gateway.upstreams.said import FIELDS, NOTHING, Part, Said, read
from gateway.upstreams.said import Improper as Improper

HEAD_BYTES_MAX = 1 << 16
INTERIM_MAX = 8
# Of one chunk's size with what is said beside it, and of all trailers.
LINE_BYTES_MAX = 1 << 12
TRAILER_BYTES_MAX = 1 << 14

CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*)?")
# The same line with its end. Without what may be said beside a size, which nobody does.
PLAIN_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")


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

    def begin(self, said: Said) -> None:
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
                self.is_surplus = at < len(data)
                break
            if self.part is Part.CHUNK_SIZE:
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


def take_whole(data: bytes, view: memoryview, at: int, parts: list[memoryview]) -> int:
    """Take the chunks that are here with all of their bytes, and return where the first other one begins.

    An upstream that sends its answer byte by byte must not cost the others the time for it.
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
