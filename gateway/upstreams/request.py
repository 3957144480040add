"""The head of a request to an upstream, as bytes."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gateway.types import Body

# Scheme and authority, and behind them a target; a fragment is for browsers.
TARGET = re.compile(r"([a-z]+://[^/?#]+)(/[!-\"$-~]*)", re.ASCII)
# RFC 9110 section 8.6: these say that they have no body.
EXPECTED_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def split(url: str) -> tuple[str, str]:
    """Scheme and authority, and the target in the form of RFC 9112 section 3.2.1; ValueError if there is none
    that could be said in a request.
    """
    found = TARGET.fullmatch(url)
    if found is None:
        # Without a path, as some are published.
        begin = url.find("://") + 3
        query = url.find("?", begin)
        found = TARGET.fullmatch(f"{url}/" if query < 0 else f"{url[:query]}/{url[query:]}")
    if found is None:
        raise ValueError("the request has a target that is none")
    return found[1], found[2]


class Fields(NamedTuple):
    """Fields of a request as they are written."""

    text: bytes
    has_host: bool


class Request(NamedTuple):
    """A request's head, but for what is another in each: further fields go between its two parts."""

    method: str
    base: str
    """Scheme and authority of where it goes to."""
    begin: bytes
    end: bytes

    def asking(self, before: str, after: str) -> "Request":
        """The same with another query at the end of its target."""
        end = self.begin.index(b" HTTP/1.1\r\n")
        stem = self.begin[: end - len(before) - 1 if before else end]
        line = b"%b?%b" % (stem, after.encode()) if after else stem
        return Request(self.method, self.base, line + self.begin[end:], self.end)


def fields(headers: Mapping[str, str]) -> Fields:
    """ValueError for what cannot be said in a request without becoming another one."""
    if "Content-Length" in headers or "Transfer-Encoding" in headers:
        raise ValueError("the request has a framing that is not its own")
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    text = "".join(lines)
    # As many line ends as were put there: no value brought one of its own.
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ValueError("a header has a line end in it")
    # Bytes that are not UTF-8 leave as they came.
    return Fields(text.encode(errors="surrogateescape"), "Host" in headers)


def request(method: str, place: tuple[str, str], authority: str, fields: Fields, body: Body) -> Request:
    """``place`` is what ``split`` has made of its URL."""
    base, target = place
    host = "" if fields.has_host else f"Host: {authority}\r\n"
    begin = f"{method} {target} HTTP/1.1\r\n{host}".encode() + fields.text
    length = body.length
    if length is None:
        return Request(method, base, begin, b"Transfer-Encoding: chunked\r\n\r\n")
    if length or method in EXPECTED_WITH_BODY:
        return Request(method, base, begin, b"Content-Length: %d\r\n\r\n" % length)
    return Request(method, base, begin, b"\r\n")
