"""HTTP/1.1 through the gateway, byte for byte at both ends: how messages end, what stands behind them, and
what becomes of a connection that nobody can be sure of any more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.paths.conftest import Farebox
from tests.paths.test_framing import PATH, connected, send, statuses
from tests.waiting import until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n2\r\non\r\n1\r\ne\r\n0\r\n"


@dataclass(slots=True)
class Far:
    """An upstream that says what a test has it say: by the path that it is asked for."""

    port: int = 0
    answers: dict[bytes, bytes] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    lost: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                if b"Content-Length: 4" in head:
                    await reader.readexactly(4)
                elif b"chunked" in head:
                    await reader.readuntil(b"0\r\n\r\n")
                path = head.split(b" ")[1]
                if path == b"/wait":
                    await self.go_on.wait()
                writer.write(self.answers.get(path, OK + b"Content-Length: 2\r\n\r\nok"))
                if b"ends" in path:
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.lost += 1
            writer.close()


@asynccontextmanager
async def raw_upstream() -> AsyncIterator[Far]:
    far = Far()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    try:
        yield far
    finally:
        server.close()


@pytest.fixture
async def far(farebox: Farebox) -> AsyncIterator[Far]:
    async with raw_upstream() as far:
        await farebox.publish(price_per_call="0", endpoints=[], api_url=f"http://127.0.0.1:{far.port}")
        yield far


def request(path: str, method: str = "GET", version: str = "1.1", more: str = "") -> bytes:
    return f"{method} {PATH}{path} HTTP/{version}\r\nHost: a\r\n{more}\r\n".encode()


def framing(answer: bytes) -> tuple[list[bytes], bytes]:
    """The fields that say where it ends, and what is behind the head."""
    head, _, body = answer.partition(b"\r\n\r\n")
    names = (b"content-length:", b"transfer-encoding:", b"connection:", b"trailer:")
    return [line for line in head.split(b"\r\n") if line.lower().startswith(names)], body


CHUNKED = [b"Transfer-Encoding: chunked"]
IN_CHUNKS, ALL = b"3\r\none\r\n0\r\n\r\n", b"one"


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
THREE = b"Content-Length: 3\r\n\r\none"
TE = "TE: gzip, Trailers\r\nConnection: TE\r\n"
NO_TRAILERS = (
    b"Set-Cookie: a=b\r\nContent-Length: 9\r\nContent-Type: text/html\r\nDate: x\r\nPAYMENT-RESPONSE: x\r\n"
    b"X-Farebox-Charged: 0\r\nLocation: /y\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
)
ENDS = [
    # What came at once is sent with its length, and what has no length yet in chunks.
    (OK + CHUNKS + b"\r\n", request("/x"), [b"Content-Length: 3"], ALL),
    (OK + b"\r\none", request("/ends"), CHUNKED, IN_CHUNKS),
    (OK + b"\r\none", request("/ends", version="1.0"), [b"Connection: close"], ALL),
    (OK + b"Content-Length: 0\r\n\r\n", request("/x"), [b"Content-Length: 0"], b""),
    (b"HTTP/1.0 200 OK\r\n" + THREE, request("/x"), [b"Content-Length: 3"], ALL),
    (b"HTTP/1.1 204 No Content\r\n\r\n", request("/x"), [], b""),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", request("/x"), [b"Content-Length: 3"], b""),
    (OK + b"Content-Length: 3\r\n\r\n", request("/x", "HEAD"), [b"Content-Length: 3"], b""),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n", request("/x", "HEAD"), [], b""),
    # Before HTTP/1.1 nobody reads chunks, and nobody is kept who does not ask for it.
    (OK + THREE, request("/x", version="1.0"), [b"Content-Length: 3", b"Connection: close"], ALL),
    # Interim answers end here; the final one is the answer.
    (HINTS + HINTS + OK + THREE, request("/x"), [b"Content-Length: 3"], ALL),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + THREE, request("/x"), [b"Content-Length: 3"], ALL),
    # Trailers are for those who say that they read them, and none takes the place of a header.
    (OK + CHUNKS + b"X-Sum: 1\r\nDigest: a\r\n\r\n", request("/x", more=TE), CHUNKED,
     b"3\r\none\r\n0\r\nX-Sum: 1\r\nDigest: a\r\n\r\n"),
    (OK + CHUNKS + b"X-Sum: 1\r\n\r\n", request("/x"), CHUNKED, IN_CHUNKS),
    (OK + CHUNKS + b"X-Sum: 1\r\n\r\n", request("/x", version="1.0", more=TE), [b"Connection: close"], ALL),
    (OK + CHUNKS + NO_TRAILERS, request("/x", more=TE), CHUNKED, IN_CHUNKS),
]  # fmt: skip


async def test_an_answer_ends_where_its_caller_looks_for_the_end(farebox: Farebox, far: Far) -> None:
    for said, asked, fields, body in ENDS:
        far.answers = {b"/x": said, b"/ends": said}
        answer = await send(farebox.origin, asked)
        assert answer.startswith(b"HTTP/1.1 ")
        assert framing(answer) == (fields, body), (said, asked)


async def test_a_trailer_of_a_request_goes_no_further(farebox: Farebox, far: Far) -> None:
    """Some servers take it for a header: whoever may write one must not write the publisher's."""
    trailers = "X-Api-Key: forged\r\nX-Forwarded-For: 6.6.6.6\r\n"
    body = f"2\r\nok\r\n0\r\n{trailers}\r\n".encode()
    posted = request("/x", "POST", more="Transfer-Encoding: chunked\r\nTrailer: X-Api-Key\r\n") + body
    assert statuses(await send(farebox.origin, posted + request("/y"))) == [200, 200]
    assert [head.split(b" ")[1] for head in far.heads] == [b"/x", b"/y"]
    assert not any(b"forged" in head or b"6.6.6.6" in head or b"Trailer" in head for head in far.heads)


OUT_OF_STEP = [
    # Bytes behind the answer, a length and chunks, two lengths, a folded line.
    OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 6\r\n\r\nstolen",
    OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    OK + CHUNKS + b"\r\n" + OK + b"Content-Length: 6\r\n\r\nstolen",
    OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\n\r\nstolen",
]


async def test_a_connection_that_is_out_of_step_is_closed_and_never_used_again(
    farebox: Farebox, far: Far
) -> None:
    for number, said in enumerate(OUT_OF_STEP, 1):
        far.answers = {b"/odd": said}
        assert statuses(await send(farebox.origin, request("/odd", more="Connection: close\r\n"))) == [502]
        # It was the one that the calls before had used, so each time there is a new one.
        for _ in range(2):
            answer = await send(farebox.origin, request("/x", more="Connection: close\r\n"))
            assert (statuses(answer), framing(answer)[1]) == ([200], b"ok")
        assert (far.connections, far.lost) == (number + 1, number), said


async def test_what_is_sent_ahead_is_answered_in_its_order(farebox: Farebox, far: Far) -> None:
    count = 60
    far.answers = {
        f"/{number}".encode(): OK + f"X-Number: {number}\r\nContent-Length: 2\r\n\r\nok".encode()
        for number in range(count)
    }
    parts = [request("/wait")]
    for number in range(count):
        more = "Content-Length: 4\r\n" if number % 2 else ""
        parts.append(request(f"/{number}", "POST" if number % 2 else "GET", more=more))
        parts.append(b"body" if number % 2 else b"")
    async with connected(farebox.origin) as (reader, writer):
        writer.write(b"".join(parts))

        async def is_asked() -> bool:
            return len(far.heads) == 1

        await until(is_asked)
        await asyncio.sleep(0.1)
        assert len(far.heads) == 1
        far.go_on.set()
        answer = b""
        async with asyncio.timeout(10):
            while answer.count(b"HTTP/1.1 200") <= count or not answer.endswith(b"ok"):
                answer += await reader.read(65_536)
    places = [answer.index(f"X-Number: {number}\r\n".encode()) for number in range(count)]
    assert places == sorted(places)


async def test_a_caller_who_hangs_up_ends_a_stream_that_says_nothing(farebox: Farebox, far: Far) -> None:
    """At once, and not with the next event: an upstream may have none for minutes."""
    far.answers = {b"/events": OK + b"Content-Type: text/event-stream\r\n\r\ndata: one\n\n"}
    async with connected(farebox.origin) as (reader, writer):
        writer.write(request("/events"))
        async with asyncio.timeout(30):
            await reader.readuntil(b"data: one\n\n")
        assert far.lost == 0

    async def is_gone() -> bool:
        return far.lost == 1

    await until(is_gone)


async def test_another_protocol_is_not_taken_and_the_request_is_served(farebox: Farebox, far: Far) -> None:
    """RFC 9110 section 7.8 has a server go on in the same protocol; curl offers h2c with each request."""
    for protocol in ("h2c", "websocket2", "TLS/1.0, h2c"):
        upgrade = (
            f"Upgrade: {protocol}\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n"
        )
        data = request("/x", more=upgrade) + request("/y")
        assert statuses(await send(farebox.origin, data)) == [200, 200]
    assert not any(b"pgrade" in head or b"HTTP2" in head for head in far.heads)
