"""A node or a facilitator over HTTP, on connections like those to upstreams: they cost a third of what a
client library's do.
"""

import binascii
from collections.abc import AsyncIterator, Mapping

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from config.settings import Upstream
from gateway.kit.body import HereBody
from gateway.kit.problem import Refusal
from gateway.kit.ssrf import Guard
from gateway.upstreams import request
from gateway.upstreams.arriving import Arriving
from gateway.upstreams.deadlines import Deadlines
from gateway.upstreams.http import HttpUpstreams
from gateway.upstreams.request import Request

CONNECT_SECONDS = 3.0
CONNECTIONS_MAX = 64
HEADS_MAX = 256


class Unanswered(Exception):
    """There is no answer, or none that can be read. Its text has no URL in it: that may have a key in it."""


class Unsent(Unanswered):
    """There was no connection, so nothing was sent."""


class Endpoint:
    """What the settings name is trusted to be where it is, on a private address too."""

    def __init__(
        self, url: str, headers: Mapping[str, str], seconds_max: float, answer_bytes_max: int
    ) -> None:
        settings = Upstream(
            connect_timeout_seconds=CONNECT_SECONDS, total_timeout_seconds=seconds_max,
            connections_per_host=CONNECTIONS_MAX,
        )  # fmt: skip
        self.upstreams = HttpUpstreams(Guard(is_private_allowed=True), settings)
        self.url, named = without_user(url)
        # Of what it says, nobody here undoes an encoding.
        self.fields = request.fields(CIMultiDict({"Accept-Encoding": "identity", **named, **headers}))
        self.answer_bytes_max = answer_bytes_max
        self.heads: dict[tuple[str, str, int], Request] = {}

    async def close(self) -> None:
        await self.upstreams.close()

    async def ask(
        self, method: str, body: bytes, path: str = "", deadlines: Deadlines | None = None
    ) -> tuple[int, bytes]:
        """The status and the body of the answer, whatever they are; ``Unanswered`` when there is none.

        ``deadlines`` are those of whoever waits for less long than everybody.
        """
        sent = HereBody(body)
        exchange = self.upstreams.begin(self.head(method, path, sent), b"", sent, all_of_them)
        if deadlines is not None:
            exchange.deadlines = deadlines
        try:
            with await exchange.ask() as answer:
                return answer.head.status, await self.read(answer.chunks)
        except (Refusal, OSError) as error:
            kind = Unanswered if exchange.is_sent else Unsent
            raise kind(type(error).__name__) from None

    def head(self, method: str, path: str, body: HereBody) -> Request:
        """The same for bodies of the same length."""
        key = method, path, body.length
        head = self.heads.get(key)
        if head is None:
            if len(self.heads) == HEADS_MAX:
                self.heads.clear()
            head = self.heads[key] = self.upstreams.prepare(method, self.url + path, self.fields, body)
        return head

    async def read(self, chunks: AsyncIterator[bytes]) -> bytes:
        text = chunks.whole() if isinstance(chunks, Arriving) else None
        if text is None:
            parts, size = [], 0
            async for part in chunks:
                parts.append(part)
                size += len(part)
                if size > self.answer_bytes_max:
                    break
            text = b"".join(parts)
        if len(text) > self.answer_bytes_max:
            raise Unanswered("its answer is too large")
        return text


def all_of_them(headers: CIMultiDictProxy[str]) -> CIMultiDictProxy[str]:
    """Nobody else sees them."""
    return headers


def without_user(url: str) -> tuple[str, Mapping[str, str]]:
    """A URL as it is asked, and the header that says what it says of a user."""
    try:
        parsed = URL(url, encoded=True)
    except ValueError:
        # It cannot be asked, and whoever does is told so.
        return url, {}
    if parsed.raw_user is None:
        return str(parsed.with_fragment(None)), {}
    named = f"{parsed.user}:{parsed.password or ''}".encode()
    header = f"Basic {binascii.b2a_base64(named, newline=False).decode()}"
    return str(parsed.with_user(None).with_fragment(None)), {"Authorization": header}
