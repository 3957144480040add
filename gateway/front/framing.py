"""What a request must be so that everybody who reads it reads the same one.

aiohttp's parser refuses most that is ambiguous: obsolete line folding, bare CR and LF, NUL, Content-Length
that is not one plain number, chunk sizes that are not hexadecimal. Here is the rest, from RFC 9112 sections
3.2, 6.1 and 7. Whoever sends such a thing is answered 400 and loses the connection: where the next request
begins is no longer certain.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import HttpVersion10, HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from gateway.front.arrived import AnyRequest, Arrived

# RFC 3986 section 3.2.2: a name, an IPv4 address or a bracketed IPv6 address, and a port.
HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?", re.ASCII
)
TARGET = re.compile(r"/[!-~]*", re.ASCII)
VERSIONS = (HttpVersion10, HttpVersion11)


def flaw(request: AnyRequest) -> str | None:
    """Why nobody may act on this request, or None."""
    headers, target = request.headers, request.raw_path
    # Not the property: that would be kept, and the answer to a version that does not exist be in it.
    version = request.version if isinstance(request, Arrived) else request._version
    if version not in VERSIONS:
        return "the version of HTTP must be 1.0 or 1.1"
    if "#" in target or not TARGET.fullmatch(target):
        return "the request's target must be a path in printable ASCII, without a fragment"
    if not is_host(headers.getall("Host", ()), is_optional=version == HttpVersion10):
        return "the Host header must be there once, with a host and at most a port"
    if "Transfer-Encoding" in headers:
        return flaw_of_encoding(request)
    return None


def flaw_of_encoding(request: AnyRequest | RawRequestMessage) -> str | None:
    headers = request.headers
    if request.version != HttpVersion11:
        return "Transfer-Encoding has no meaning in HTTP/1.0"
    if "Content-Length" in headers:
        return "Content-Length and Transfer-Encoding contradict each other"
    if [one.lower() for one in headers.getall("Transfer-Encoding")] != ["chunked"]:
        return "the only Transfer-Encoding is chunked, once"
    return None


def is_host(values: Sequence[str], *, is_optional: bool) -> bool:
    if not values:
        return is_optional
    return len(values) == 1 and is_authority(values[0])


@lru_cache(maxsize=256)
def is_authority(value: str) -> bool:
    """Remembered, because nearly every request has one of very few values."""
    return len(value) <= 300 and HOST.fullmatch(value) is not None
