"""The head of a request to an upstream, as bytes."""

import re
from collections.abc import Mapping

from gateway.types import Body

# What a URL may have behind its origin; a fragment is for browsers.
TARGET = re.compile(r"/[!-\"$-~]*", re.ASCII)
# RFC 9110 section 8.6: these say that they have no body.
EXPECTED_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def split(url: str) -> tuple[str, str]:
    """Scheme and authority, and the target in the form of RFC 9112 section 3.2.1."""
    begin = url.find("://") + 3
    slash, query = url.find("/", begin), url.find("?", begin)
    if slash < 0 or 0 <= query < slash:
        return (url, "/") if query < 0 else (url[:query], f"/{url[query:]}")
    return url[:slash], url[slash:]


def head(method: str, target: str, authority: str, headers: Mapping[str, str], body: Body) -> bytes:
    """ValueError for what cannot be said in a request without becoming another one."""
    if not TARGET.fullmatch(target) or "Content-Length" in headers or "Transfer-Encoding" in headers:
        raise ValueError("the request has a target that is none, or a framing that is not its own")
    lines = [f"{method} {target} HTTP/1.1"]
    if "Host" not in headers:
        lines.append(f"Host: {authority}")
    lines += map(": ".join, headers.items())
    if body.length is None:
        lines.append("Transfer-Encoding: chunked")
    elif body.length or method in EXPECTED_WITH_BODY:
        lines.append(f"Content-Length: {body.length}")
    lines.append("\r\n")
    text = "\r\n".join(lines)
    # As many line ends as were put between the lines: no value brought one of its own.
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ValueError("a header has a line end in it")
    # Bytes that are not UTF-8 leave as they came.
    return text.encode(errors="surrogateescape")
