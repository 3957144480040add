"""What an upstream answers, read strictly and without a connection: bytes in, a head and its body out.

RFC 9112 lets a reader repair much. Here nothing is repaired, because what two readers may take for two
different answers would be one caller's answer in the hands of the next: folded lines, bare line feeds,
lengths that are repeated or stand beside chunks, and chunks that are not as long as they say are an error,
and the connection ends with it.
"""

from multidict import CIMultiDictProxy

from gateway.kit.chunks import Chunks
from gateway.kit.chunks import Improper as Improper
from gateway.upstreams.said import NOTHING, Part, Said, read

HEAD_BYTES_MAX = 1 << 16
INTERIM_MAX = 8


class Reading:
    """One answer to one request. After an ``Improper`` it is not to be used any more."""

    __slots__ = (
        "buffer", "chunks", "interim_count", "is_answer_to_head", "is_kept", "is_surplus", "left", "part",
        "said", "status",
    )  # fmt: skip

    def __init__(self, method: str) -> None:
        self.is_answer_to_head = method == "HEAD"
        self.part = Part.HEAD
        self.buffer = b""
        self.left = self.interim_count = 0
        self.status = 0
        """0 until the head is there."""
        self.said = NOTHING
        self.chunks: Chunks | None = None
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
        return self.read_chunks(data) if self.chunks is not None else b""

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
        if self.part is Part.CHUNKS:
            self.chunks = Chunks()

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
        assert self.chunks is not None, "the head says so"
        body = self.chunks.feed(data)
        if self.chunks.is_done:
            self.part = Part.DONE
            self.is_surplus = bool(self.chunks.rest)
        return body

    @property
    def trailers(self) -> list[tuple[str, str]]:
        return [] if self.chunks is None else self.chunks.trailers
