"""A request for a call, with what the stages ask of it and no more.

aiohttp's own request can be asked for its cookies, its forms and much else, and is made where somebody might:
for the management API, and for WebSockets.
"""

import re
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from aiohttp import HttpVersion, HttpVersion11, web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDictProxy

if TYPE_CHECKING:
    from gateway.front.connection import Connection

METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
# Not all that a request line may be: what it may be without anybody reading it in another way.
LINE = re.compile(rb"([A-Z]{3,7}) (/[!\"$-~]*) HTTP/1\.1")
END = b"\r\n\r\n"
# What is remembered must not be as large as a stranger can make it.
FIELDS_BYTES_MAX = 1 << 11
LINE_BYTES_MAX = 1 << 12
FIELDS_MAX = 1024
# A body follows, or the connection is to become another; a payment is not sent twice.
NOT_REMEMBERED = (
    "Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "X-PAYMENT", "PAYMENT-SIGNATURE",
    "X-PAYMENT-UPSTREAM",
)  # fmt: skip


class Heading:
    """The fields of a request. What a stage finds out from them alone it leaves here for the next request
    that has the same ones.
    """

    __slots__ = ("headers", "meaning", "sent")

    def __init__(self, headers: CIMultiDictProxy[str]) -> None:
        self.headers = headers
        self.meaning: Any = None
        """``admit``'s."""
        self.sent: Any = None
        """``forward``'s."""


class Arrived:
    __slots__ = (
        "content", "content_length", "heading", "keep_alive", "made", "method", "path", "protocol", "query",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        protocol: "Connection",
        method: str,
        target: str,
        version: HttpVersion,
        heading: Heading,
        content: StreamReader = EMPTY_PAYLOAD,
    ) -> None:
        self.protocol = protocol
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.version = version
        self.heading = heading
        self.content = content
        self.content_length: int | None = 0
        """None where the head does not say it."""
        if content is not EMPTY_PAYLOAD:
            declared = heading.headers.get("Content-Length")
            self.content_length = None if declared is None else int(declared)
        self.keep_alive = True
        self.made: web.BaseRequest | None = None
        """aiohttp's, where there is one."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self.heading.headers

    @property
    def can_read_body(self) -> bool:
        return not self.content.at_eof()

    @property
    def raw_path(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def transport(self) -> Any:
        return self.protocol.transport

    @property
    def has_begun(self) -> bool:
        """Whether aiohttp has written some of an answer."""
        return self.made is not None and self.made.writer.output_size > 0

    def _cancel(self, reason: BaseException) -> None:
        """Called by aiohttp when the connection is lost."""
        if self.content is not EMPTY_PAYLOAD:
            self.content.set_exception(reason)


AnyRequest: TypeAlias = web.BaseRequest | Arrived


def over(request: web.BaseRequest) -> Arrived:
    """A call that aiohttp has made a request of."""
    target = request.rel_url.raw_path_qs
    connection = cast("Connection", request.protocol)
    heading = Heading(request.headers)
    arrived = Arrived(connection, request.method, target, request.version, heading, request.content)
    arrived.keep_alive, arrived.made = request.keep_alive, request
    return arrived


class Headings:
    """The fields of requests that came lately, by their bytes: who calls often says the same each time."""

    def __init__(self) -> None:
        self.young: dict[bytes, Heading] = {}
        self.old: dict[bytes, Heading] = {}

    def recognise(self, data: bytes) -> tuple[str, str, Heading] | None:
        """Method, target and fields of what is a whole request, whose fields came before to the letter."""
        end = data.find(b"\r\n")
        fields = data[end:]
        heading = self.young.get(fields) or self.revive(fields)
        if heading is None or end > LINE_BYTES_MAX:
            return None
        line = LINE.fullmatch(data, 0, end)
        method = None if line is None else METHODS.get(line[1])
        return None if line is None or method is None else (method, line[2].decode(), heading)

    def revive(self, fields: bytes) -> Heading | None:
        heading = self.old.pop(fields, None)
        if heading is not None:
            self.keep(fields, heading)
        return heading

    def learn(self, data: bytes, arrived: Arrived) -> None:
        """``data`` is all that came of a request, and there was nothing before it that it may go on from."""
        end = data.find(b"\r\n")
        if (
            len(data) - end <= FIELDS_BYTES_MAX
            and data.count(END) == 1
            and arrived.version == HttpVersion11
            and arrived.keep_alive
            and LINE.fullmatch(data, 0, end)
            and not any(name in arrived.headers for name in NOT_REMEMBERED)
        ):
            self.keep(data[end:], arrived.heading)

    def keep(self, fields: bytes, heading: Heading) -> None:
        if len(self.young) >= FIELDS_MAX:
            # What nobody asked for since the last time is forgotten.
            self.young, self.old = {}, self.young
        self.young[fields] = heading
