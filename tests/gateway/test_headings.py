"""Requests whose fields came before: they are taken for what they are, and nothing else is taken for one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from config.settings import Listen
from gateway.front import arrived, connection
from gateway.front.arrived import END, Arrived
from gateway.front.reply import Reply
from gateway.front.server import Front

FIELDS = b"Host: a\r\nX-Who: me\r\n\r\n"
WHOLE = b"GET /p/1?q HTTP/1.1\r\n" + FIELDS


@dataclass(slots=True)
class Seen:
    front: Front
    port: int = 0
    calls: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    saw: Callable[[Arrived], None] = lambda request: None
    is_slow: bool = False
    """Whether a call takes more than one turn of the loop, so that there are several at a time."""

    async def send(self, *parts: bytes, pause: float = 0.03) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        writer.write_eof()
        await asyncio.sleep(pause)
        writer.transport.abort()


@asynccontextmanager
async def serving() -> AsyncIterator[Seen]:
    async def call(request: Arrived) -> Reply:
        body = request.body or await request.content.read()
        if seen.is_slow:
            await asyncio.sleep(0)
        seen.calls.append((request.method, f"{request.path}?{request.query}", request.headers["X-Who"], body))
        seen.saw(request)
        reply = Reply(request, 200, "OK", CIMultiDict())
        reply.send_whole(b"ok")
        return reply

    async def other(request: object) -> Reply:
        raise AssertionError("all of these are calls")

    front = Front(other, Listen(), calls=(lambda method, path: path.startswith("/p/"), call))
    listener = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
    listener.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
    seen = Seen(front, listener.sockets[0].getsockname()[1])
    yield seen
    listener.close()
    await front.shutdown(1)


def get(path: str = "/p/1", query: str = "q", who: str = "me") -> tuple[str, str, str, bytes]:
    return ("GET", f"{path}?{query}", who, b"")


def post(body: bytes, path: str = "/p/2") -> tuple[str, str, str, bytes]:
    return ("POST", f"{path}?", "me", body)


def posting(length: int, more: bytes = b"") -> bytes:
    return b"POST /p/2 HTTP/1.1\r\nHost: a\r\nX-Who: me\r\nContent-Length: %d\r\n%b\r\n" % (length, more)


THREE = posting(3)
POST = b"POST /p/2 HTTP/1.1\r\nHost: a\r\nX-Who: me\r\nContent-Length: %d\r\n\r\n" % len(WHOLE)
CHUNKED = b"POST /p/2 HTTP/1.1\r\nHost: a\r\nX-Who: me\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((WHOLE, WHOLE, WHOLE), [get()] * 3),
        ((WHOLE, WHOLE.replace(b"/p/1?q", b"/p/9")), [get(), get("/p/9", "")]),
        ((WHOLE, WHOLE.replace(b"me", b"you")), [get(), get(who="you")]),
        # Several at once, and behind a part of one.
        ((WHOLE, WHOLE + WHOLE, WHOLE), [get()] * 4),
        ((WHOLE, WHOLE[:9], WHOLE[9:], WHOLE), [get()] * 3),
        ((WHOLE, WHOLE[:30], WHOLE[30:] + WHOLE[:5], WHOLE[5:], WHOLE), [get()] * 4),
        # What looks like a request is the body of one.
        ((WHOLE, POST, WHOLE, WHOLE), [get(), ("POST", "/p/2?", "me", WHOLE), get()]),
        ((WHOLE, POST + WHOLE, WHOLE), [get(), ("POST", "/p/2?", "me", WHOLE), get()]),
        (
            (WHOLE, CHUNKED + b"%x\r\n" % len(WHOLE), WHOLE, b"\r\n0\r\n\r\n", WHOLE),
            [get(), ("POST", "/p/2?", "me", WHOLE), get()],
        ),
        # A field of its own that ends where a request would begin.
        (
            (WHOLE, b"GET /p/3 HTTP/1.1\r\nX-Who: me\r\nX-Last:", b"GET /p/4 HTTP/1.1\r\n" + FIELDS, WHOLE),
            [get(), get("/p/3", ""), get()],
        ),
        ((WHOLE, b"\r\n", WHOLE, WHOLE), [get()] * 3),
        # Bodies that come with their heads, of the length that these say; and what does not.
        ((THREE + b"one", THREE + b"two", THREE + b"sec"), [post(b"one"), post(b"two"), post(b"sec")]),
        (
            (THREE + b"one", THREE.replace(b"/p/2", b"/p/3") + b"two", WHOLE),
            [post(b"one"), post(b"two", "/p/3"), get()],
        ),
        ((THREE + b"one", THREE + b"t", b"wo", THREE + b"sec"), [post(b"one"), post(b"two"), post(b"sec")]),
        ((THREE + b"one", THREE, b"two", THREE + b"sec"), [post(b"one"), post(b"two"), post(b"sec")]),
        # Many clients send a head and then its body; the parser gets what does not come at once.
        ((THREE, b"one", THREE, b"two", WHOLE), [post(b"one"), post(b"two"), get()]),
        ((THREE, b"one", THREE, b"t", b"w", b"o", WHOLE), [post(b"one"), post(b"two"), get()]),
        ((THREE, b"one", THREE, b"two" + WHOLE, WHOLE), [post(b"one"), post(b"two"), get(), get()]),
        ((THREE, b"one" + WHOLE[:5], WHOLE[5:], WHOLE), [post(b"one"), get(), get()]),
        (
            (posting(len(WHOLE)), WHOLE, posting(len(WHOLE)), WHOLE, WHOLE),
            [post(WHOLE), post(WHOLE), get()],
        ),
        (
            (WHOLE, b"\r\n\r\n" + posting(len(WHOLE) + 100), b"x" * 100, WHOLE, WHOLE),
            [get(), post(b"x" * 100 + WHOLE), get()],
        ),
        (
            (THREE + b"one", THREE + b"two" + WHOLE, THREE + b"sec"),
            [post(b"one"), post(b"two"), get(), post(b"sec")],
        ),
        ((THREE + b"one", THREE + b"two" + WHOLE[:9], WHOLE[9:]), [post(b"one"), post(b"two"), get()]),
        (
            (posting(0), posting(0), posting(4) + END, posting(4) + END, posting(0)),
            [post(b""), post(b""), post(END), post(END), post(b"")],
        ),
        (
            (posting(3, b"Expect: 100-continue\r\n") + b"one", THREE + b"two"),
            [post(b"one"), post(b"two")],
        ),
        # The parser reads these, as it would have done before.
        ((WHOLE, b"\r\n" + WHOLE, WHOLE), [get()] * 3),
        ((WHOLE, b"GET /p/1?q HTTP/1.0\r\n" + FIELDS), [get()] * 2),
    ],
)  # fmt: skip
async def test_each_is_served_as_if_it_were_the_first(
    parts: tuple[bytes, ...], expected: list[tuple[str, str, str, bytes]]
) -> None:
    async with serving() as seen:
        await seen.send(*parts)
        assert seen.calls == expected


ID = b"5f0c1c1e-7a55-4c2e-9a53-6f9a0f3d7b1e"
OTHER = ID.replace(b"5f", b"6a")


def naming(*lines: bytes) -> bytes:
    """A request with lines between the others."""
    return b"GET /p/1?q HTTP/1.1\r\nHost: a\r\n" + b"".join(b"%b\r\n" % line for line in lines) + FIELDS[9:]


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        ((b"X-Request-Id: " + ID,), {"x-request-id": ID.decode()}),
        ((b"x-request-ID: " + OTHER,), {"x-request-id": OTHER.decode()}),
        ((b"PAYMENT-SIGNATURE: " + ID * 40,), {"payment-signature": ID.decode() * 40}),
        (
            (b"Idempotency-Key: " + ID, b"traceparent: " + OTHER),
            {"idempotency-key": ID.decode(), "traceparent": OTHER.decode()},
        ),
    ],
)
async def test_lines_that_are_others_in_each_request_are_read_beside_the_same_ones(
    lines: tuple[bytes, ...], fields: dict[str, str]
) -> None:
    seen: list[dict[str, str]] = []
    parsed: list[bytes] = []
    async with serving() as served:
        read = connection.Connection.parse

        def parse(self: connection.Connection, data: bytes, **more: bool) -> None:
            parsed.append(data)
            read(self, data, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connection.Connection, "parse", parse)
            served.saw = lambda request: seen.append(
                {name.lower(): value for name, value in request.headers.items()}
            )
            await served.send(WHOLE, naming(*lines), naming(*reversed(lines)), WHOLE)
    same = {"host": "a", "x-who": "me"}
    assert seen == [same, {**same, **fields}, {**same, **fields}, same]
    assert parsed == [WHOLE]


@pytest.mark.parametrize(
    "lines",
    [
        (b"X-Request-Id: " + ID, b"X-Request-Id: " + OTHER),
        (b"X-Request-Id: " + ID, b"x-request-id: " + ID),
        (b"X-Request-Id: 1", b"X-Request-Id: " + ID),
        (b"X-Request-Id : " + ID,),
        (b"X-Request-Id:" + ID,),
        (b"X-Request-Id: " + ID + b"\t",),
        (b"X-Request-Id: " + ID + b"\r",),
        (b" X-Request-Id: " + ID,),
        (b"X-Request-Id: " + ID + b"\xff",),
        (b"X-Request-Id: " + ID, b" folded"),
        (b"X-Request-Id: " + ID + b"\nX-Request-Id: " + ID,),
        (b"X-Request-Idd: " + ID,),
        (b"X-Request-Id: " + b"a" * 9000,),
    ],
)
async def test_lines_that_may_be_read_otherwise_are_left_to_the_parser(lines: tuple[bytes, ...]) -> None:
    headings = arrived.Headings(lambda method, path: path.startswith("/p/"))
    headings.keep(
        b"\r\n" + FIELDS, arrived.Heading(CIMultiDictProxy(CIMultiDict({"Host": "a", "X-Who": "me"})))
    )
    short = CIMultiDict({"Host": "a", "X-Who": "me", "X-Request-Id": "1"})
    headings.keep(
        b"\r\nHost: a\r\nX-Request-Id: 1\r\n" + FIELDS[9:], arrived.Heading(CIMultiDictProxy(short))
    )
    assert headings.recognise(naming(b"X-Request-Id: " + ID))
    assert headings.recognise(naming(*lines)) is None


@pytest.mark.parametrize("pause", [0.05, 0.15])
async def test_a_body_that_takes_its_time_is_the_parsers(
    monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    monkeypatch.setattr(connection, "HELD_SECONDS", 0.1)
    async with serving() as seen:
        await seen.send(THREE + b"one", THREE, b"two", THREE, b"th", b"r", WHOLE, pause=pause)
        assert seen.calls == [post(b"one"), post(b"two"), post(b"thr"), get()]


@pytest.mark.parametrize("at_once", [1, 7, 500])
async def test_whose_answers_pile_up_is_served_when_they_are_taken(at_once: int) -> None:
    """Or a caller who takes none could make the gateway keep as many as it can ask for."""
    count = 8000
    async with serving() as seen:
        own = socket.create_connection(("127.0.0.1", seen.port))
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        reader, writer = await asyncio.open_connection(sock=own, limit=1 << 10)
        for sent in range(0, count, at_once):
            writer.write(WHOLE * min(at_once, count - sent))
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)
        [served] = seen.front.open()
        assert served.transport is not None
        assert served.transport.get_write_buffer_size() < 1 << 17
        assert len(seen.calls) < count
        for _ in range(count):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
        assert seen.calls == [get()] * count
        writer.close()


async def test_a_head_whose_body_never_comes_is_no_call() -> None:
    async with serving() as seen:
        await seen.send(THREE + b"one", THREE)
        assert seen.calls == [post(b"one")]
        await seen.front.drain(0.5)
        assert seen.front.taken == 0


@pytest.mark.parametrize(
    "line",
    [
        b"GET /p/1 HTTP/1.1 ", b"GET  /p/1 HTTP/1.1", b"get /p/1 HTTP/1.1", b"GET /p/1#x HTTP/1.1",
        b"GET /p/\xff HTTP/1.1", b"TRACE /p/1 HTTP/1.1", b"GET http://a/p/1 HTTP/1.1", b"GET /p/1 HTTP/1.2",
        b"GET /p/1\t HTTP/1.1", b"", b"GET /p/1", b"GET /p/" + b"a" * 5000 + b" HTTP/1.1",
    ],
)  # fmt: skip
def test_other_lines_are_left_to_the_parser(line: bytes) -> None:
    headings = arrived.Headings(lambda method, path: path.startswith("/p/"))
    headings.keep(b"\r\n" + FIELDS, arrived.Heading(CIMultiDict()))  # type: ignore[arg-type]
    assert headings.recognise(b"GET /p/1 HTTP/1.1\r\n" + FIELDS)
    assert headings.recognise(line + b"\r\n" + FIELDS) is None


@pytest.mark.parametrize("name", [b"Expect: x", b"PAYMENT-SIGNATURE: x", b"X: " + b"a" * 3000])
async def test_what_waits_or_pays_is_not_remembered(name: bytes) -> None:
    async with serving() as seen:
        await seen.send(b"GET /p/1 HTTP/1.1\r\n" + name + b"\r\n" + FIELDS)
        assert (len(seen.calls), seen.front.headings.young) == (1, {})


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrived, "FIELDS_MAX", 4)
    async with serving() as seen:
        await seen.send(*(WHOLE.replace(b"me", b"%d" % number) for number in range(20)), WHOLE, pause=0.02)
        headings = seen.front.headings
        assert len(seen.calls) == 21
        assert 0 < len(headings.young) + len(headings.old) <= 8
        monkeypatch.setattr(arrived, "HEADS_MAX", 4)
        await seen.send(*(WHOLE.replace(b"/p/1", b"/p/%d" % number) for number in range(20)), pause=0.02)
        assert len(seen.calls) == 41
        assert 0 < len(headings.wordings) <= 4


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
async def test_a_crowd_is_answered_whole_also_where_its_connections_end(more: bytes) -> None:
    one = WHOLE.replace(b"X-Who", more + b"X-Who")
    async with serving() as seen:
        seen.is_slow = True
        connections = [await asyncio.open_connection("127.0.0.1", seen.port) for _ in range(32)]
        for _ in range(1 if more else 3):
            for _, writer in connections:
                writer.write(one)
            async with asyncio.timeout(5):
                for reader, _ in connections:
                    assert (await reader.readuntil(END)).startswith(b"HTTP/1.1 200 OK")
                    assert await reader.readexactly(2) == b"ok"
        for reader, writer in connections:
            assert not more or await reader.read() == b""
            writer.close()


async def test_what_is_answered_is_written_before_its_connection_is_closed_by_somebody_else() -> None:
    def look(request: Arrived) -> None:
        # In the turn that has answered the others.
        for one in seen.front.open() if len(seen.calls) == 16 else ():
            if one.is_waiting:
                one.force_close()

    async with serving() as seen:
        seen.is_slow, seen.saw = True, look
        connections = [await asyncio.open_connection("127.0.0.1", seen.port) for _ in range(8)]
        for _ in range(2):
            for _, writer in connections:
                writer.write(WHOLE)
            for reader, _ in connections:
                await asyncio.wait_for(reader.readuntil(b"ok"), 5)
        for _, writer in connections:
            writer.close()
