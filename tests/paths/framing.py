"""Requests as bytes, and whether they are one request. From RFC 9112 and the bugs that proxies had with it.

``{shop}`` stands for the path of a publisher, ``{host}`` for what belongs into Host.
"""

from typing import NamedTuple


class Vector(NamedTuple):
    name: str
    data: str
    served: int
    """How many requests of it reach the upstream."""
    status: int


def post(fields: str, body: str = "", *, line: str = "POST {shop}/x HTTP/1.1") -> str:
    return f"{line}\r\nHost: {{host}}\r\n{fields}\r\n{body}"


def get(fields: str = "", *, line: str = "GET {shop}/x HTTP/1.1") -> str:
    return f"{line}\r\nHost: {{host}}\r\n{fields}\r\n"


CHUNKED = "Transfer-Encoding: chunked\r\n"
LAST = "0\r\n\r\n"
SMUGGLED = "GET {shop}/smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"

GOOD = [
    Vector("plain", get(), 1, 200),
    Vector("length", post("Content-Length: 4\r\n", "body"), 1, 200),
    Vector("length zero", post("Content-Length: 0\r\n"), 1, 200),
    Vector("length with leading zeros", post("Content-Length: 0004\r\n", "body"), 1, 200),
    Vector("chunks", post(CHUNKED, f"4\r\nbody\r\n{LAST}"), 1, 200),
    Vector("chunked in capitals", post("Transfer-Encoding: CHUNKED\r\n", f"4\r\nbody\r\n{LAST}"), 1, 200),
    Vector("chunk extension", post(CHUNKED, f"4;a=b\r\nbody\r\n{LAST}"), 1, 200),
    Vector("trailer", post(CHUNKED, "4\r\nbody\r\n0\r\nX-Trailer: 1\r\n\r\n"), 1, 200),
    Vector("space around a value", get("X-A: \t value \t \r\n"), 1, 200),
    Vector("host with a port", "GET {shop}/x HTTP/1.1\r\nHost: a.example:80\r\n\r\n", 1, 200),
    Vector("host is IPv6", "GET {shop}/x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 1, 200),
    Vector("HTTP/1.0", "GET {shop}/x HTTP/1.0\r\n\r\n", 1, 200),
    Vector("two at once", get() + get(), 2, 200),
    Vector("a body and the next at once", post("Content-Length: 4\r\n", "body") + get(), 2, 200),
    Vector("two, one with chunks", post(CHUNKED, f"4\r\nbody\r\n{LAST}") + get(), 2, 200),
    Vector("two spaces in the line", get(line="GET {shop}/x  HTTP/1.1"), 1, 200),
    Vector("line break before the line", "\r\n" + get(), 1, 200),
]

BAD = [
    Vector("length and chunks", post("Content-Length: 4\r\n" + CHUNKED, LAST + SMUGGLED), 0, 400),
    Vector("chunks and length", post(CHUNKED + "Content-Length: 4\r\n", LAST + SMUGGLED), 0, 400),
    Vector("chunks in HTTP/1.0", post(CHUNKED, LAST, line="POST {shop}/x HTTP/1.0"), 0, 400),
    Vector("two lengths", post("Content-Length: 4\r\nContent-Length: 5\r\n", "body!"), 0, 400),
    Vector("two equal lengths", post("Content-Length: 4\r\nContent-Length: 4\r\n", "body"), 0, 400),
    Vector("list of lengths", post("Content-Length: 4, 4\r\n", "body"), 0, 400),
    Vector("length with a sign", post("Content-Length: +4\r\n", "body"), 0, 400),
    Vector("negative length", post("Content-Length: -1\r\n"), 0, 400),
    Vector("length in hexadecimal", post("Content-Length: 0x4\r\n", "body"), 0, 400),
    Vector("length with a space", post("Content-Length: 4 4\r\n", "body"), 0, 400),
    Vector("length of words", post("Content-Length: four\r\n", "body"), 0, 400),
    Vector("empty length", post("Content-Length: \r\n", "body"), 0, 400),
    Vector("length beyond 64 bits", post("Content-Length: 18446744073709551617\r\n", "b"), 0, 400),
    Vector("length with a fraction", post("Content-Length: 4.0\r\n", "body"), 0, 400),
    Vector("identity", post("Transfer-Encoding: identity\r\n", SMUGGLED), 0, 400),
    Vector("gzip", post("Transfer-Encoding: gzip\r\n", "body"), 0, 400),
    Vector("gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", LAST), 0, 400),
    Vector("chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", LAST), 0, 400),
    Vector("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", LAST), 0, 400),
    Vector("chunked in two fields", post(CHUNKED + CHUNKED, LAST), 0, 400),
    Vector("xchunked", post("Transfer-Encoding: xchunked\r\n", LAST), 0, 400),
    Vector("chunked with a control", post("Transfer-Encoding: \x0bchunked\r\n", LAST), 0, 400),
    Vector("quoted chunked", post('Transfer-Encoding: "chunked"\r\n', LAST), 0, 400),
    Vector("space before the colon", post("Transfer-Encoding : chunked\r\n", LAST), 0, 400),
    Vector("space before the colon of the length", post("Content-Length : 4\r\n", "body"), 0, 400),
    Vector("folded field", get("X-A: one\r\n two\r\n"), 0, 400),
    Vector("folded encoding", post("Transfer-Encoding:\r\n chunked\r\n", LAST), 0, 400),
    Vector("space before a name", get(" X-A: one\r\n"), 0, 400),
    Vector("bare CR in a value", get("X-A: one\rX-B: two\r\n"), 0, 400),
    Vector("bare LF after a field", get("X-A: one\n"), 0, 400),
    Vector("bare LF after the line", "GET {shop}/x HTTP/1.1\nHost: {host}\r\n\r\n", 0, 400),
    Vector("NUL in a value", get("X-A: a\0b\r\n"), 0, 400),
    Vector("NUL in a name", get("X-\0A: b\r\n"), 0, 400),
    Vector("control in a value", get("X-A: a\x01b\r\n"), 0, 400),
    Vector("no colon", get("Nonsense\r\n"), 0, 400),
    Vector("empty name", get(": value\r\n"), 0, 400),
    Vector("name with a bracket", get("X[A]: value\r\n"), 0, 400),
    Vector("no host", "GET {shop}/x HTTP/1.1\r\n\r\n", 0, 400),
    Vector("two hosts", get("Host: other\r\n"), 0, 400),
    Vector("empty host", "GET {shop}/x HTTP/1.1\r\nHost:\r\n\r\n", 0, 400),
    Vector("host with a space", "GET {shop}/x HTTP/1.1\r\nHost: a b\r\n\r\n", 0, 400),
    Vector("host with a path", "GET {shop}/x HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, 400),
    Vector("host with a user", "GET {shop}/x HTTP/1.1\r\nHost: a@b\r\n\r\n", 0, 400),
    Vector("host with a comma", "GET {shop}/x HTTP/1.1\r\nHost: a, b\r\n\r\n", 0, 400),
    Vector("absolute target", get(line="GET http://other{shop}/x HTTP/1.1"), 0, 400),
    Vector("authority target", get(line="CONNECT {host}:80 HTTP/1.1"), 0, 400),
    Vector("asterisk target", get(line="OPTIONS * HTTP/1.1"), 0, 400),
    Vector("target without a slash", get(line="GET publishers/shop/x HTTP/1.1"), 0, 400),
    Vector("fragment", get(line="GET {shop}/x#y HTTP/1.1"), 0, 400),
    Vector("bytes beyond ASCII in the target", get(line="GET {shop}/\xff HTTP/1.1"), 0, 400),
    Vector("control in the target", get(line="GET {shop}/\x01 HTTP/1.1"), 0, 400),
    Vector("space in the target", get(line="GET {shop}/x y HTTP/1.1"), 0, 400),
    Vector("tab in the line", get(line="GET\t{shop}/x HTTP/1.1"), 0, 400),
    Vector("HTTP/0.9", "GET {shop}/x\r\n\r\n", 0, 400),
    Vector("HTTP/1.2", get(line="GET {shop}/x HTTP/1.2"), 0, 400),
    Vector("HTTP/2.0", get(line="GET {shop}/x HTTP/2.0"), 0, 400),
    Vector("version with letters", get(line="GET {shop}/x HTTP/1.1a"), 0, 400),
    Vector("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, 400),
    Vector("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0, 400),
    Vector("method in small letters", get(line="get {shop}/x HTTP/1.1"), 0, 400),
    Vector("method with a bracket", get(line="G(T {shop}/x HTTP/1.1"), 0, 400),
    Vector("chunk size in letters", post(CHUNKED, "x\r\nbody\r\n" + LAST), 0, 400),
    Vector("chunk size with 0x", post(CHUNKED, "0x4\r\nbody\r\n" + LAST), 0, 400),
    Vector("negative chunk size", post(CHUNKED, "-4\r\nbody\r\n" + LAST), 0, 400),
    Vector("chunk size beyond 64 bits", post(CHUNKED, "1" + "0" * 16 + "\r\nb"), 0, 400),
    Vector("space before the chunk size", post(CHUNKED, " 4\r\nbody\r\n" + LAST), 0, 400),
    Vector("space after the chunk size", post(CHUNKED, "4 \r\nbody\r\n" + LAST), 0, 400),
    Vector("bare LF after the chunk size", post(CHUNKED, "4\nbody\r\n" + LAST), 0, 400),
    Vector("chunk longer than it says", post(CHUNKED, "3\r\nbody\r\n" + LAST), 0, 400),
    Vector("bare LF in a chunk extension", post(CHUNKED, "4;a\nbody\r\n" + LAST), 0, 400),
    Vector("no size", post(CHUNKED, "\r\nbody\r\n" + LAST), 0, 400),
    Vector("bare LF in the trailer", post(CHUNKED, "0\r\nX: 1\n\r\n"), 0, 400),
    Vector("two authorizations", get("Authorization: a\r\nAuthorization: b\r\n"), 0, 400),
    Vector("two payments", get("X-PAYMENT: a\r\nX-PAYMENT: b\r\n"), 0, 400),
    Vector("head too large", get("X-A: " + "a" * 70_000 + "\r\n"), 0, 431),
    Vector("target too long", get(line="GET {shop}/" + "a" * 70_000 + " HTTP/1.1"), 0, 431),
    Vector("too many fields", get("X-A: b\r\n" * 200), 0, 400),
]
