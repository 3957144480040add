"""What a caller is told when its request cannot even be read. Each of these ends the connection."""

from collections.abc import Mapping

from aiohttp.http_exceptions import LineTooLong

from gateway.kit.problem import Refusal

# A client that takes HTTP/2 for granted begins with a line (RFC 9113 section 3.4) that is this to llhttp.
HTTP_2_PREFACE = "Pause on PRI/Upgrade"


class Malformed(Refusal):
    status, slug, title = 400, "malformed-request", "Malformed request"


class BodyTooSlow(Refusal):
    status, slug, title = 408, "request-too-slow", "Request too slow"


class HeadTooLarge(Refusal):
    status, slug, title = 431, "head-too-large", "Request head too large"


class ExpectationFailed(Refusal):
    status, slug, title = 417, "expectation-failed", "Expectation failed"


class ConnectionsTaken(Refusal):
    status, slug, title = 503, "too-many-connections", "Too many connections"
    headers: Mapping[str, str] = {"Retry-After": "1"}


def unread(exc: BaseException | None, message: str) -> Refusal:
    """What the parser found, whose first line says it and whose others point at it."""
    detail = printable(message.partition("\n")[0].rstrip(": "))
    if detail == HTTP_2_PREFACE:
        return Malformed("HTTP/1.1 is spoken here, and not HTTP/2: send the request in that")
    return HeadTooLarge(detail) if isinstance(exc, LineTooLong) else Malformed(detail)


def printable(text: str) -> str:
    """A parser's complaint quotes what it could not read, which JSON need not be able to carry."""
    return text.encode("ascii", "replace").decode()[:200]


def whole(refusal: Refusal) -> bytes:
    """The complete answer as bytes, for a connection that has nobody to write it."""
    body = refusal.problem().model_dump_json(exclude_none=True).encode()
    fields = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **refusal.headers,
    }
    head = f"HTTP/1.1 {refusal.status} {refusal.title}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{head}{lines}\r\n".encode() + body


LATE = whole(BodyTooSlow("the request's head was not complete in time"))
FULL = whole(ConnectionsTaken("as many connections are open as may be, from your address or in all"))
