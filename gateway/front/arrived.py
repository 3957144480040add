"""A request for a call, with what the stages ask of it and no more.

aiohttp's own request can be asked for its cookies, its forms and much else, and is made where somebody might:
for the management API, and for WebSockets.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from aiohttp import HttpVersion, HttpVersion11, web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDictProxy

from gateway.front.moving import taken_out, with_these, without

if TYPE_CHECKING:
    from gateway.front.connection import Connection

METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
# Not all that a request line may be: what it may be without anybody reading it in another way.
LINE = re.compile(rb"([A-Z]{3,7}) (/[!\"$-~]*) HTTP/1\.1")
LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)
END = b"\r\n\r\n"
# A line that goes on in the next one: the next one is then not what it seems.
FOLDED = re.compile(rb"\r\n[ \t]")
# What is remembered must not be as large as a stranger can make it.
FIELDS_BYTES_MAX = 1 << 11
LINE_BYTES_MAX = 1 << 12
FIELDS_MAX = 1024
HEAD_BYTES_MAX = 1 << 11
HEADS_MAX = 1024
BODY_BYTES_MAX = 1 << 16
# How long the body is they do not say, or the connection is to become another; a payment is not sent twice.
NOT_REMEMBERED = (
    "Transfer-Encoding", "Expect", "Upgrade", "X-PAYMENT", "PAYMENT-SIGNATURE", "X-PAYMENT-UPSTREAM",
)  # fmt: skip
IsCall: TypeAlias = Callable[[str, str], bool]
"""Whether a method and a path are a call's."""


class Heading:
    """The fields of a request. What a stage finds out from them alone it leaves here for the next request
    that has the same ones.
    """

    __slots__ = ("base", "headers", "length", "meaning", "plans", "sent")

    def __init__(
        self, headers: CIMultiDictProxy[str], length: int = 0, base: "Heading | None" = None
    ) -> None:
        self.headers = headers
        self.base = base
        """The fields without those that are others in each request, where there are such (``moving.py``)."""
        self.length = length
        """Of the body, for fields that are remembered."""
        self.meaning: Any = None
        """``admit``'s."""
        self.sent: Any = None
        """``forward``'s."""
        self.plans: dict[tuple[str, str], Any] = {}
        """``call``'s, by method and path: few of them."""


class Wording:
    """The head of a request: its line and its fields. What follows from it is left here for the next request
    that says the same to the letter.
    """

    __slots__ = ("base", "heading", "method", "path", "plan", "query")

    def __init__(self, method: str, target: str, heading: Heading, base: "Wording | None" = None) -> None:
        self.method = method
        self.base = base
        """The one that came before, where this one says more."""
        self.path, _, self.query = target.partition("?")
        self.heading = heading
        self.plan: Any = None
        """The stages'."""


class Arrived:
    __slots__ = (
        "body", "content", "content_length", "heading", "keep_alive", "made", "method", "path", "protocol",
        "query", "version", "wording",
    )  # fmt: skip

    def __init__(
        self,
        protocol: "Connection",
        wording: Wording,
        body: bytes = b"",
        version: HttpVersion = HttpVersion11,
        content: StreamReader = EMPTY_PAYLOAD,
    ) -> None:
        """``body`` is all of it, where it came with the head; else there is ``content``."""
        self.protocol = protocol
        self.wording = wording
        self.method, self.path, self.query = wording.method, wording.path, wording.query
        self.version = version
        self.heading = wording.heading
        self.body = body
        self.content = content
        self.content_length: int | None = len(body)
        """None where the head does not say it."""
        if content is not EMPTY_PAYLOAD:
            declared = self.heading.headers.get("Content-Length")
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
    wording = Wording(request.method, request.rel_url.raw_path_qs, Heading(request.headers))
    connection = cast("Connection", request.protocol)
    arrived = Arrived(connection, wording, b"", request.version, request.content)
    arrived.keep_alive, arrived.made = request.keep_alive, request
    return arrived


class Headings:
    """The heads of calls that came lately, by their bytes: who calls often says the same each time. Behind
    another line, the same fields are still known.
    """

    def __init__(self, is_call: IsCall) -> None:
        self.is_call = is_call
        self.young: dict[bytes, Heading] = {}
        self.old: dict[bytes, Heading] = {}
        self.wordings: dict[bytes, Wording] = {}

    def recognise(self, data: bytes) -> tuple[Wording, bytes] | None:
        """The head of a call, whose fields came before to the letter, and what is here of its body: all of it
        if it has the heading's ``length``, and never more.
        """
        end = data.find(END) + 4
        # The same object where no body follows.
        head = data[:end]
        wording = self.wordings.get(head) or self.word(head) or self.vary(head)
        if wording is None or wording.heading.length < len(data) - end:
            return None
        return wording, data[end:]

    def word(self, head: bytes) -> Wording | None:
        """A line that did not come before, or not lately, with fields that did."""
        end = head.find(b"\r\n")
        fields = head[end:]
        heading = self.young.get(fields) or self.revive(fields)
        if heading is None or end > LINE_BYTES_MAX:
            return None
        line = LINE.fullmatch(head, 0, end)
        method = None if line is None else METHODS.get(line[1])
        if line is None or method is None:
            return None
        wording = Wording(method, line[2].decode(), heading)
        if not self.is_call(method, wording.path):
            return None
        if len(head) <= HEAD_BYTES_MAX:
            if len(self.wordings) >= HEADS_MAX:
                self.wordings = {}
            self.wordings[head] = wording
        return wording

    def vary(self, head: bytes) -> Wording | None:
        """One that came before, but for lines that are others in each request. It does not come again."""
        parts = taken_out(head)
        if parts is None:
            return None
        known, moved = parts
        base = self.wordings.get(known) or self.word(known)
        if base is None or any(name in base.heading.headers for name in moved):
            return None
        fields = base.heading
        heading = Heading(with_these(fields.headers, moved), fields.length, fields)
        return Wording(base.method, f"{base.path}?{base.query}" if base.query else base.path, heading, base)

    def revive(self, fields: bytes) -> Heading | None:
        heading = self.old.pop(fields, None)
        if heading is not None:
            self.keep(fields, heading)
        return heading

    def learn(self, data: bytes, arrived: Arrived) -> None:
        """``data`` is what came of a call and of nothing else, its head at least."""
        head = data[: data.find(END) + 4]
        begin = head.find(b"\r\n")
        heading = arrived.heading
        if (parts := taken_out(head)) is not None:
            head, moved = parts
            headers = without(heading.headers, moved)
            if headers is None:
                return
            heading = Heading(headers)
        if (
            len(head) - begin <= FIELDS_BYTES_MAX
            and arrived.version == HttpVersion11
            and arrived.keep_alive
            and LINE.fullmatch(head, 0, begin)
            and not FOLDED.search(head)
            and is_framed(heading.headers)
            and (arrived.content_length or 0) <= BODY_BYTES_MAX
            and not any(name in heading.headers for name in NOT_REMEMBERED)
        ):
            heading.length = arrived.content_length or 0
            self.keep(head[begin:], heading)

    def keep(self, fields: bytes, heading: Heading) -> None:
        if len(self.young) >= FIELDS_MAX:
            # What nobody asked for since the last time is forgotten.
            self.young, self.old = {}, self.young
        self.young[fields] = heading


def is_framed(headers: CIMultiDictProxy[str]) -> bool:
    """Whether these say in the one usual way how long the body is, or that there is none."""
    said = headers.getall("Content-Length", ())
    return not said or (len(said) == 1 and LENGTH.fullmatch(said[0]) is not None)
