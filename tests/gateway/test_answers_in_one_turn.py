"""Answers that wait for the end of a turn: each connection is written what it would be if they did not."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from config.settings import Listen
from gateway.front import reply as replying
from gateway.front.arrived import Arrived, Wording
from gateway.front.connection import Connection
from gateway.front.problems import Malformed
from gateway.front.reply import Lines, Reply, ended, put_again, refuse, refuse_with
from gateway.front.server import Front
from gateway.kit.outbox import Outbox
from gateway.kit.problem import respond
from tests.gateway.readers import TICKS, Wire

FIELDS = b" HTTP/1.1\r\nHost: a\r\n"
PUT = Outbox.put
TOLD = Lines(402, "Payment Required", CIMultiDict({"X-Told": "again"}))


def get(path: str, more: bytes = b"") -> bytes:
    return b"GET " + path.encode() + FIELDS + more + b"\r\n"


PIECES = [
    *(get(f"/p/{one}") for one in ("told", "now", "slow", "poured", "large", "refused", "204")),
    *(get(f"/{one}") for one in ("healthz", "poured", "refused")),
    b"HEAD /p/now" + FIELDS + b"\r\n",
    b"POST /p/body" + FIELDS + b"Content-Length: 4\r\n\r\nbody",
    b"POST /p/body" + FIELDS + b"Content-Length: 4\r\n\r\n",
    b"POST /p/body" + FIELDS + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
    b"POST /body" + FIELDS + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
    b"POST /p/now" + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    get("/p/now", b"Connection: close\r\n"),
    get("/p/told", b"Connection: close\r\n"),
    b"GET /p/now HTTP/1.0\r\n\r\n",
    get("/p/now", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    get("/ws", b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
    b"GET /p/now HTTP/1.1\r\nHo", b"st: a\r\n\r\n", b"body", b"no head\r\n\r\n",
]  # fmt: skip
LATE, EOF, READ, DRAIN, IDLE = "late", "eof", "read", "drain", "idle"
ROOM = 1 << 20
NAMED = re.compile(rb"(/p/\w+) ")
Act = tuple[int, bytes | str, int]
ACTS = st.tuples(
    st.integers(0, 2),
    st.one_of(
        st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(b"".join),
        st.sampled_from([get("/p/told"), get("/p/now"), get("/p/slow")]),
        st.sampled_from([LATE, EOF, READ, READ, READ, DRAIN, IDLE]),
    ),
    st.integers(0, 6),
)


class Slow(Wire):
    """It takes a few bytes, until somebody reads, and nothing once it is closed."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = self.left = room
        self.is_paused = False
        self.protocol: Connection | None = None

    def write(self, data: bytes) -> None:
        if self.is_closed:
            return
        super().write(data)
        self.left -= len(data)
        if self.left < 0 and not self.is_paused and self.protocol is not None:
            self.is_paused = True
            self.protocol.pause_writing()

    def writelines(self, parts: Sequence[bytes]) -> None:
        self.write(b"".join(parts))

    def read(self) -> None:
        self.left = self.room
        if self.is_paused and self.protocol is not None:
            self.is_paused = False
            self.protocol.resume_writing()


def tell_at_once(connection: Connection, wording: Wording) -> bool:
    if wording.path != "/p/told":
        return False
    put_again(connection, TOLD, f"X-Id: {wording.query}\r\n", ended(b"told"))
    return True


async def call(request: Arrived) -> Reply:
    path = request.path.removeprefix("/p/")
    if path == "told":
        # As it is told at once.
        return refuse_with(request, 402, TOLD, b"told", f"X-Id: {request.query}\r\n")
    if path == "slow":
        for _ in range(3):
            await asyncio.sleep(0)
    elif path == "refused":
        return refuse(request, Malformed("no").problem(), CIMultiDict())
    elif path == "body" and not request.body:
        await request.content.read()
    reply = Reply(request, 204 if path == "204" else 200, "OK", CIMultiDict())
    if path == "poured":
        await reply.begin()
        await reply.send(b"one")
        await asyncio.sleep(0)
        await reply.send(b"two")
        await reply.end()
    else:
        reply.send_whole(
            b"" if path == "204" else bytes(70_000) if path == "large" else request.raw_path.encode()
        )
    return reply


async def other(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/ws":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        return socket
    if request.path == "/refused":
        return respond(Malformed("no").problem(), {})
    if request.path == "/poured":
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"one")
        return answer
    return web.Response(body=await request.read() or b"ok")


class Talk:
    """Some callers of one front."""

    def __init__(self, company: Callable[[int], int], room: int) -> None:
        def put(outbox: Outbox, transport: Any, data: bytes, others: int) -> None:
            PUT(outbox, transport, data, company(others))

        Outbox.put = put  # type: ignore[assignment, method-assign]
        self.front = Front(
            other, Listen(), calls=(lambda _, path: path.startswith("/p/"), call), tell_at_once=tell_at_once
        )
        self.wires = [Slow(room) for _ in range(3)]
        self.connections = [self.front() for _ in self.wires]
        for wire, connection in zip(self.wires, self.connections, strict=True):
            wire.protocol = connection
            connection.connection_made(wire)  # type: ignore[arg-type]

    async def hold(self, acts: Sequence[Act]) -> list[bytes]:
        for whose, what, ticks in acts:
            self.do(self.wires[whose], self.connections[whose], what)
            for _ in range(ticks):
                await asyncio.sleep(0)
        for _ in range(TICKS):
            for wire in self.wires:
                wire.read()
            for _ in range(4):
                await asyncio.sleep(0)
        for wire, connection in zip(self.wires, self.connections, strict=True):
            wire.protocol = None
            connection.connection_lost(None)
        await asyncio.sleep(0)
        return [bytes(wire.written) for wire in self.wires]

    def do(self, wire: Slow, connection: Connection, what: bytes | str) -> None:
        if what == DRAIN:
            self.front.is_draining = True
            for one in self.connections:
                one.close_after_answer()
        elif wire.is_closed:
            return
        elif isinstance(what, bytes):
            connection.data_received(what)
        elif what == EOF:
            # As the loop does.
            connection.eof_received()
            wire.close()
        else:
            {LATE: connection.head_is_late, IDLE: connection.close_if_idle, READ: wire.read}[what]()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(autouse=True)
def same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "put", PUT)
    monkeypatch.setattr(replying, "date", lambda second: b"")


TELL = get("/p/told")
NOW = get("/p/now")


@settings(max_examples=300, deadline=None)
@given(st.lists(ACTS, max_size=14), st.integers(0, 2**30), st.sampled_from([100, 1000, ROOM, ROOM]))
@example([(0, TELL, 9), (0, TELL, 0), (0, TELL, 0)], 2, ROOM)  # one put off, one of a lone caller
@example([(0, NOW, 2), (0, EOF, 0)], 1, ROOM)  # a caller who has no more to say, before it is written
def test_what_is_written_is_the_same(runner: asyncio.Runner, acts: list[Act], bits: int, room: int) -> None:
    drawn = count()
    if room < ROOM:
        # Who is kept from writing is so a turn later, and what else happens then may find it so or not.
        acts = [one for one in acts if isinstance(one[1], bytes) or one[1] == READ]

    def any_company(_: int) -> int:
        return 2 if bits >> (next(drawn) % 30) & 1 else 1

    async def held(company: Callable[[int], int]) -> list[bytes]:
        return undated(await Talk(company, room).hold(numbered(acts)))

    alone = runner.run(held(lambda _: 1))
    for company in (lambda own: own, lambda _: 2, any_company):
        assert runner.run(held(company)) == alone


def numbered(acts: Sequence[Act]) -> list[Act]:
    """Each call is another, and so is its answer."""
    numbers = count()

    def number(found: re.Match[bytes]) -> bytes:
        return b"%b?%d " % (found[1], next(numbers))

    return [
        (whose, NAMED.sub(number, what) if isinstance(what, bytes) else what, ticks)
        for whose, what, ticks in acts
    ]


def undated(answers: Sequence[bytes]) -> list[bytes]:
    return [re.sub(rb"Date: [^\r]*\r\n", b"", one) for one in answers]
