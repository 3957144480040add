"""The head of an upstream's answer, read strictly: what it says, and where the body behind it ends."""

import re
from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from typing import TypeAlias

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.heads import Head
from gateway.kit.chunks import Improper

Pass: TypeAlias = Callable[[CIMultiDictProxy[str]], CIMultiDictProxy[str]]
"""Which of an upstream's headers its caller may see."""

FIELDS_MAX = 128
REMEMBERED_BYTES_MAX = 1 << 11

# RFC 9112 sections 4 and 5, RFC 9110 section 5.6.2. Whoever leaves the reason out may leave its space out.
STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
FIELDS = re.compile(rb"(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*)*")
LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


class Part(Enum):
    HEAD = auto()
    LENGTH = auto()
    CHUNKS = auto()
    UNTIL_CLOSE = auto()
    DONE = auto()


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
            self.part = Part.CHUNKS
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


def whole(data: bytes) -> Said | None:
    """The head of what is an answer from its first to its last byte, of a length that it says: as nearly all
    are. None for any other, to be read piece by piece.
    """
    end = data.find(b"\r\n\r\n")
    if not 0 < end <= REMEMBERED_BYTES_MAX:
        return None
    try:
        said = read_again(data[:end])
    except Improper:
        return None
    is_one = said.part is Part.LENGTH and said.status >= 200 and not said.is_bodiless
    return said if is_one and len(data) == end + 4 + said.length else None


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
