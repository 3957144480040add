"""Connections that dawdle, that are too many, and that are open when the process ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from config.settings import Listen
from gateway.front import connection, server
from gateway.front.server import Front
from gateway.kit.problem import Refusal, respond
from tests.waiting import SECONDS_MAX, until

HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
WHOLE = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(slots=True)
class Served:
    front: Front
    port: int
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def answers(self, *parts: bytes, pause: float = 0.05, seconds: float = SECONDS_MAX) -> bytes:
        """Send the parts one by one, and return all that comes until the server closes."""
        answer = b""
        reader, writer = await self.connect()

        async def listen() -> None:
            nonlocal answer
            with suppress(ConnectionError):
                while more := await reader.read(65_536):
                    answer += more

        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            listening = group.create_task(listen())
            for part in parts:
                if not listening.done():
                    writer.write(part)
                    await asyncio.sleep(pause)
        writer.transport.abort()
        return answer


@asynccontextmanager
async def serving(**limits: object) -> AsyncIterator[Served]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/unread":
            await served.go_on.wait()
            parts = [len(part) async for part in request.content.iter_any()]
            return web.Response(text=str(sum(parts)))
        try:
            body = await request.read()
        except Refusal as refusal:
            return respond(refusal.problem(), {})
        if request.path == "/wait":
            await served.go_on.wait()
        return web.Response(body=bytes(64_000_000) if request.path == "/large" else body or b"none")

    front = Front(answer, Listen.model_validate(limits))
    listener = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
    served = Served(front, listener.sockets[0].getsockname()[1])
    yield served
    listener.close()
    await front.shutdown(1)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WINDOW_SECONDS", 0.1)
    monkeypatch.setattr(server, "IDLE_DRAIN_SECONDS", 0.5)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.1)


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD,),
        (b"P",),
        # A deadline from the first byte, so that one byte now and then does not move it.
        tuple(bytes([one]) for one in HEAD),
    ],
)
async def test_a_head_that_is_not_complete_in_time_is_408(parts: tuple[bytes, ...]) -> None:
    async with serving(head_seconds_max=0.3) as served:
        assert b" 408 " in await served.answers(*parts)


@pytest.mark.parametrize(
    "parts",
    [
        (HTTP_2,),
        tuple(bytes([one]) for one in HTTP_2[:24]),
        (WHOLE, HTTP_2),
    ],
)
async def test_who_takes_http_2_for_granted_is_told_what_is_spoken(parts: tuple[bytes, ...]) -> None:
    async with serving() as served:
        answer = await served.answers(*parts, pause=0.01)
    head, _, body = answer.rpartition(b"\r\n\r\n")
    assert b" 400 " in head
    assert b"Server: farebox" in head
    assert b"aiohttp" not in answer
    assert json.loads(body)["code"] == "malformed-request"
    assert b"HTTP/1.1 is spoken here" in body


async def test_a_second_head_has_the_same_deadline() -> None:
    async with serving(head_seconds_max=0.3) as served:
        for parts in ((WHOLE + HEAD,), (WHOLE, HEAD)):
            answer = await served.answers(*parts)
            assert answer.count(b"HTTP/1.") == 2
            assert b" 200 OK" in answer
            assert b" 408 " in answer


async def test_a_head_in_two_parts_within_the_deadline_is_served() -> None:
    async with serving(head_seconds_max=1.0) as served:
        reader, writer = await served.connect()
        for _ in range(3):
            for part in (WHOLE[:9], WHOLE[9:]):
                writer.write(part)
                await asyncio.sleep(0.2)
            assert b" 200 OK" in await reader.readuntil(b"none")
        writer.close()


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with serving(idle_seconds_max=0.2) as served:
        assert await served.answers() == b""
        assert (await served.answers(WHOLE)).endswith(b"none")


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_that_stops_or_trickles_is_408(framing: bytes) -> None:
    async with serving(body_bytes_per_second_min=1000) as served:
        assert b" 408 " in await served.answers(HEAD + framing)
        chunks = [b"1\r\nx\r\n"] * 8 if b"chunked" in framing else [b"x"] * 8
        assert b" 408 " in await served.answers(HEAD + framing, *chunks)


async def test_a_body_at_the_minimum_rate_is_served() -> None:
    async with serving(body_bytes_per_second_min=100) as served:
        parts = [b"x" * 50] * 10
        reader, writer = await served.connect()
        writer.write(HEAD + b"Content-Length: 500\r\n\r\n")
        for part in parts:
            await asyncio.sleep(0.05)
            writer.write(part)
        assert (await reader.readuntil(b"x" * 500)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_chunk_that_breaks_in_the_middle_of_a_body_does_not_hang() -> None:
    """The head was accepted long ago, and somebody waits for the rest."""
    async with serving() as served:
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n"
        answer = await served.answers(head, b"zz\r\n")
        assert b" 400 " in answer
        assert answer.count(b"HTTP/1.") == 1
        assert b"Connection: close" in answer


async def test_an_answer_that_nobody_takes_is_given_up() -> None:
    async with serving(stall_seconds_max=0.3) as served:
        _, writer = await served.connect()
        writer.write(WHOLE.replace(b"/x", b"/large"))
        await until(lambda: served.front.taken == 1)
        await until(lambda: served.front.taken == 0)
        writer.transport.abort()


@pytest.mark.parametrize("cap", ["connections_max", "connections_per_address_max"])
async def test_a_connection_over_a_cap_is_told_and_its_place_is_given_back(cap: str) -> None:
    async with serving(**{cap: 2}) as served:
        first, second = await served.connect(), await served.connect()
        await until(lambda: served.front.taken == 2)
        answer = await served.answers()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in answer
        second[1].close()
        await until(lambda: served.front.taken == 1)
        reader, third = await served.connect()
        third.write(WHOLE)
        assert b" 200 OK" in await reader.readuntil(b"none")
        assert (served.front.taken, served.front.places) == (2, {"127.0.0.1": 2})
        first[1].close()
        third.close()
        await until(lambda: (served.front.taken, served.front.places) == (0, {}))


async def test_a_trusted_proxy_has_as_many_connections_as_there_are() -> None:
    caps = {"connections_max": 4, "connections_per_address_max": 2}
    async with serving(**caps, trusted_proxies=["loopback"]) as served:
        opened = [await served.connect() for _ in range(4)]
        await until(lambda: (served.front.taken, served.front.places) == (4, {"127.0.0.1": 4}))
        assert (await served.answers()).startswith(b"HTTP/1.1 503 ")
        for _, writer in opened:
            writer.close()
        await until(lambda: (served.front.taken, served.front.places) == (0, {}))


async def test_draining_answers_what_is_here_and_what_still_comes() -> None:
    async with serving() as served:
        busy, kept, idle = [await served.connect() for _ in range(3)]
        for _, writer in (kept, idle):
            writer.write(WHOLE)
        busy[1].write(WHOLE.replace(b"/x", b"/wait"))
        await kept[0].readuntil(b"none")
        await idle[0].readuntil(b"none")
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(served.front.drain(5))
            await asyncio.sleep(0.1)
            kept[1].write(WHOLE)
            late = await kept[0].read()
            assert late.endswith(b"none")
            assert b"Connection: close" in late
            served.go_on.set()
            slow = await busy[0].read()
            assert slow.endswith(b"none")
            assert b"Connection: close" in slow
            assert not draining.done()
            assert await idle[0].read() == b""
        for _, writer in (busy, kept, idle):
            writer.close()


async def test_draining_without_connections_takes_no_time() -> None:
    async with serving() as served:
        async with asyncio.timeout(10):
            await served.front.drain(20)


async def test_draining_ends_in_time_whatever_is_under_way() -> None:
    async with serving() as served:
        _, writer = await served.connect()
        writer.write(WHOLE.replace(b"/x", b"/wait"))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(SECONDS_MAX):
            await served.front.drain(0.5)
        writer.close()


async def test_what_is_sent_ahead_of_its_turn_waits_with_its_sender() -> None:
    """However much it is: the connection takes a few requests in, and no more until they are answered."""
    async with serving() as served:
        reader, writer = await served.connect()
        writer.write(WHOLE.replace(b"/x", b"/wait") + WHOLE * 50_000)
        await asyncio.sleep(0.5)
        (connection,) = served.front.open()
        assert len(connection._messages) <= 64
        assert len(connection.held) <= 1 << 18
        served.go_on.set()
        for _ in range(200):
            await reader.readuntil(b"none")
        writer.transport.abort()


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 67108864\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
async def test_a_body_that_nobody_reads_waits_with_its_sender(framing: bytes) -> None:
    size = 64 << 20
    async with serving() as served:
        reader, writer = await served.connect()
        writer.write(HEAD.replace(b"/x", b"/unread") + framing)
        body = (
            bytes(size) if b"Length" in framing else b"100000\r\n%b\r\n" % bytes(1 << 20) * 64 + b"0\r\n\r\n"
        )
        writer.write(body)
        await asyncio.sleep(0.5)
        # The system's buffers hold some.
        assert writer.transport.get_write_buffer_size() > size // 2
        served.go_on.set()
        async with asyncio.timeout(20):
            assert (await reader.readuntil(b"67108864")).startswith(b"HTTP/1.1 200")
        writer.close()
