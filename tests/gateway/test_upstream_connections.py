"""Connections to upstreams: which are used again, who waits, and how each of them ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from config.settings import Upstream
from gateway.bodies import Body
from gateway.kit.problem import Refusal
from gateway.kit.ssrf import Guard
from gateway.upstreams import pool
from gateway.upstreams.exchange import UpstreamTimeout, UpstreamUnreachable
from gateway.upstreams.http import HttpUpstreams
from tests.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Given:
    """A request's body, for as long as a test wants."""

    parts: list[bytes] = field(default_factory=list)
    length: int | None = 0
    failure: Refusal | None = None
    more: asyncio.Event | None = None
    sent: int = 0

    @property
    def is_whole(self) -> bool:
        return self.more is None and self.failure is None

    def here(self) -> bytes | None:
        return b"" if self.length == 0 else None

    async def chunks(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part
            self.sent += len(part)
        if self.more is not None:
            await self.more.wait()
        if self.failure is not None:
            raise self.failure

    async def digest(self) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        return


@dataclass(slots=True)
class Far:
    """An upstream that says, on every connection, what the test wants."""

    port: int = 0
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    lost: int = 0


@asynccontextmanager
async def upstream(*answers: bytes, talk: Talk | None = None) -> AsyncIterator[Far]:
    """The answers to the requests of each connection, in turn; then it waits for its end."""
    far = Far()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far.connections += 1
        try:
            if talk is not None:
                await talk(reader, writer)
            else:
                for answer in answers:
                    far.heads.append(await reader.readuntil(b"\r\n\r\n"))
                    writer.write(answer)
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            far.lost += 1
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    try:
        yield far
    finally:
        server.close()


@asynccontextmanager
async def made(**more: float) -> AsyncIterator[HttpUpstreams]:
    upstreams = HttpUpstreams(Guard(is_private_allowed=True), Upstream.model_validate(more))
    try:
        yield upstreams
    finally:
        await upstreams.close()


async def get(upstreams: HttpUpstreams, far: Far, method: str = "GET", body: Body | None = None) -> bytes:
    async with upstreams.send(method, f"http://127.0.0.1:{far.port}/x", {}, body or Given()) as answer:
        return b"".join([chunk async for chunk in answer.chunks])


async def settled(upstreams: HttpUpstreams) -> None:
    """What was closed is gone a tick later."""
    await until(lambda: upstreams.connections() == (0, 0))


async def test_a_connection_is_used_again() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with upstream(OK, chunked, empty, OK) as far, made() as upstreams:
        assert [await get(upstreams, far) for _ in range(4)] == [b"ok", b"ok", b"", b"ok"]
        assert (far.connections, upstreams.connections()) == (1, (0, 1))
        assert far.heads[0] == b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % far.port


@pytest.mark.parametrize(
    "first",
    [
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"1.1", b"1.0"),
        # Whoever speaks unasked would be heard by the next caller.
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
async def test_a_connection_that_is_not_certain_is_not_used_again(first: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        if b"204" in first:
            await asyncio.sleep(0.05)
            writer.write(OK.replace(b"ok", b"no"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"ok", b"no"))

    async with upstream(talk=talk) as far, made() as upstreams:
        for _ in range(3):
            assert await get(upstreams, far) in (b"ok", b"")
            await until(lambda: upstreams.connections() == (0, 0))
        assert far.connections == 3


@pytest.mark.parametrize("tail", [OK, b"x", b"\r\n"])
async def test_more_than_the_answer_is_no_answer(tail: bytes) -> None:
    async with upstream(OK + tail) as far, made() as upstreams:
        with pytest.raises(UpstreamUnreachable):
            await get(upstreams, far)
        await settled(upstreams)


async def test_a_connection_whose_end_was_seen_is_not_used() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        writer.close()

    async with upstream(talk=talk) as far, made() as upstreams:
        for _ in range(3):
            assert await get(upstreams, far) == b"ok"
            await asyncio.sleep(0.02)
        assert far.connections == 3


async def test_a_kept_connection_that_breaks_is_502_and_nothing_is_sent_twice() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with upstream(talk=talk) as far, made() as upstreams:
        assert await get(upstreams, far) == b"ok"
        with pytest.raises(UpstreamUnreachable):
            await get(upstreams, far)
        assert far.connections == 1


async def test_nobody_there_and_a_bad_answer_are_told() -> None:
    async with upstream(b"SSH-2.0-x\r\n\r\n") as far, made() as upstreams:
        with pytest.raises(UpstreamUnreachable, match="proper answer"):
            await get(upstreams, far)
        with pytest.raises(UpstreamUnreachable, match="cannot be reached"):
            await get(upstreams, Far(port=1))
        await settled(upstreams)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-x\r\n\r\n", "the head is not one"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "more than one way"),
        (None, "Connect"),
    ],
)
async def test_why_an_upstream_failed_is_in_the_log_and_not_told(answer: bytes | None, reason: str) -> None:
    async with upstream(answer or b"") as far, made() as upstreams:
        port = far.port if answer is not None else 1
        with capture_logs() as logs, pytest.raises(UpstreamUnreachable) as refused:
            await get(upstreams, Far(port=port))
    [line] = logs
    assert line["event"] == "upstream.failed"
    assert line["upstream"] == f"127.0.0.1:{port}"
    assert reason in line["reason"]
    assert reason not in str(refused.value)


async def test_what_comes_too_late_is_504_before_the_head_and_broken_off_behind_it() -> None:
    async with upstream(b"", OK) as far, made(total_timeout_seconds=0.2) as upstreams:
        with pytest.raises(UpstreamTimeout):
            await get(upstreams, far)
        await settled(upstreams)
    async with upstream(OK[:-1]) as far, made(total_timeout_seconds=0.2) as upstreams:
        with pytest.raises(TimeoutError):
            await get(upstreams, far)


async def test_a_short_body_does_not_look_whole() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-1])
        writer.close()

    async with upstream(talk=talk) as far, made() as upstreams:
        with pytest.raises(ConnectionError):
            await get(upstreams, far)


async def test_the_queue_is_served_in_order_and_its_places_are_not_lost() -> None:
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await go_on.wait()
            if b"break" in head:
                return writer.transport.abort()
            writer.write(OK)

    order: list[int] = []
    async with upstream(talk=talk) as far, made(connections_per_host=2) as upstreams:

        async def ask(number: int) -> None:
            target = "break" if number in (1, 4) else "x"
            url = f"http://127.0.0.1:{far.port}/{target}"
            try:
                async with upstreams.send("GET", url, {}, Given()) as answer:
                    assert b"".join([chunk async for chunk in answer.chunks]) == b"ok"
            except UpstreamUnreachable:
                assert target == "break"
            order.append(number)

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(ask(number)) for number in range(12)]
            await until(lambda: (far.connections, upstreams.connections()) == (2, (2, 0)))
            await asyncio.sleep(0.1)
            assert (far.connections, upstreams.connections()) == (2, (2, 0))
            # Who gives up leaves no hole in the queue.
            calls[5].cancel()
            calls[7].cancel()
            go_on.set()
        assert sorted(order) == [0, 1, 2, 3, 4, 6, 8, 9, 10, 11]
        # A new connection takes its time, so neighbours may swap; nobody is passed by many.
        assert set(order[-2:]) <= {9, 10, 11}
        assert upstreams.connections() == (0, 2)


async def test_whoever_waits_for_a_connection_waits_no_longer_than_the_deadline() -> None:
    async with upstream(b"") as far, made(connections_per_host=1, total_timeout_seconds=0.3) as upstreams:
        calls = [asyncio.wait_for(get(upstreams, far), 30) for _ in range(3)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in found] == [UpstreamTimeout] * 3
        await settled(upstreams)


async def test_the_deadline_is_of_the_wait_and_the_answer_together() -> None:
    """Holds and claims end by it: what ran on behind their ends would be served and could not be charged."""

    may_answer, is_asked_again = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await may_answer.wait()
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        is_asked_again.set()

    async def turn(upstreams: HttpUpstreams) -> None:
        """The second waits for the first one's connection, has it, and no longer than it had before."""
        ends = upstreams.deadlines.ends
        await until(lambda: len(ends) == 2)
        [_, end] = ends.values()
        may_answer.set()
        await is_asked_again.wait()
        assert list(ends.values()) == [end]

    async with (
        upstream(talk=talk) as far,
        made(connections_per_host=1, total_timeout_seconds=3) as upstreams,
    ):
        calls = [asyncio.wait_for(get(upstreams, far), 30) for _ in range(2)]
        first, second, turned = await asyncio.gather(*calls, turn(upstreams), return_exceptions=True)
        assert (first, type(second), turned) == (b"ok", UpstreamTimeout, None)
        await settled(upstreams)
        assert not upstreams.deadlines.ends


@pytest.mark.parametrize("length", [None, 400_000])
async def test_a_body_is_sent_as_it_comes(length: int | None) -> None:
    seen = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.readuntil(b"\r\n\r\n"))
        while not seen.endswith(b"0\r\n\r\n" if length is None else b"z" * 100_000):
            seen.extend(await reader.read(65_536))
        writer.write(OK)

    body = Given([b"", b"a" * 300_000, b"z" * 100_000], length)
    async with upstream(talk=talk) as far, made() as upstreams:
        assert await get(upstreams, far, "POST", body) == b"ok"
        assert upstreams.connections() == (0, 1)
    sent = bytes(seen.partition(b"\r\n\r\n")[2])
    assert sent == (
        b"a" * 300_000 + b"z" * 100_000
        if length
        else b"493e0\r\n" + b"a" * 300_000 + b"\r\n186a0\r\n" + b"z" * 100_000 + b"\r\n0\r\n\r\n"
    )


async def test_an_early_answer_is_given_and_ends_what_was_still_to_be_sent() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    async with upstream(talk=talk) as far, made() as upstreams:
        body = Given([b"x"], None, more=asyncio.Event())
        assert await get(upstreams, far, "POST", body) == b"ok"
        await until(lambda: (upstreams.connections(), far.lost, len(upstreams.crew.tasks)) == ((0, 0), 1, 0))


async def test_an_upstream_that_does_not_read_is_not_fed() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        writer.write(OK)

    body = Given([bytes(1 << 20)] * 64, 64 << 20)
    async with upstream(talk=talk) as far, made() as upstreams:
        assert await get(upstreams, far, "POST", body) == b"ok"
        assert body.sent < 32 << 20


async def test_a_callers_body_that_fails_is_the_callers_error() -> None:
    class TooLarge(Refusal):
        status, slug, title = 413, "too-large", "Too large"

    async with upstream(OK) as far, made() as upstreams:
        with pytest.raises(TooLarge):
            await get(upstreams, far, "POST", Given([b"x"], None, TooLarge("x")))
        await until(lambda: (upstreams.connections(), far.lost) == ((0, 0), 1))


async def test_a_caller_who_leaves_or_is_cancelled_leaves_no_half_read_connection() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    async with upstream(endless) as far, made() as upstreams:
        async with upstreams.send("GET", f"http://127.0.0.1:{far.port}/x", {}, Given()) as answer:
            assert await anext(answer.chunks) == b"half"
            assert upstreams.connections() == (1, 0)
        assert upstreams.connections()[1] == 0
    async with upstream(b"") as far, made() as upstreams:
        call = asyncio.create_task(get(upstreams, far))  # noqa: TID251
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.wait([call])
        await until(lambda: (upstreams.connections(), far.lost) == ((0, 0), 1))


async def test_what_is_read_ahead_is_bounded_and_the_connection_reads_on_afterwards() -> None:
    size = 8 << 20
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    async with upstream(large, OK) as far, made() as upstreams:
        async with upstreams.send("GET", f"http://127.0.0.1:{far.port}/x", {}, Given()) as answer:
            await asyncio.sleep(0.2)
            assert answer.chunks.size <= 1 << 19  # type: ignore[attr-defined]
            total = 0
            async for chunk in answer.chunks:
                total += len(chunk)
        assert (total, await get(upstreams, far), far.connections) == (size, b"ok", 1)


async def test_idle_connections_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS_MAX", 0.1)
    monkeypatch.setattr(pool, "SWEEP_SECONDS", 0.05)
    async with upstream(OK) as far, made() as upstreams:
        await get(upstreams, far)
        assert upstreams.connections() == (0, 1)
        await until(lambda: (upstreams.connections(), far.lost, upstreams.pool.lanes) == ((0, 0), 1, {}))


async def test_origins_that_cannot_be_reached_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SWEEP_SECONDS", 0.05)
    async with made() as upstreams:
        for port in range(1, 6):
            with pytest.raises(UpstreamUnreachable):
                async with upstreams.send("GET", f"http://127.0.0.1:{port}/x", {}, Given()):
                    pass
        await until(lambda: (upstreams.pool.lanes, upstreams.deadlines.ends) == ({}, {}))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_the_guard_looks_at_the_address_that_is_connected_to(host: str) -> None:
    async with upstream(OK) as far:
        upstreams = HttpUpstreams(Guard(is_private_allowed=False), Upstream())
        with pytest.raises(UpstreamUnreachable):
            async with upstreams.send("GET", f"http://{host}:{far.port}/x", {}, Given()):
                pass
        assert far.connections == 0
        await upstreams.close()


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://127.0.0.1/a b", {}),
        ("http://127.0.0.1/a\r\nX: y", {}),
        ("http://127.0.0.1/a#b", {}),
        ("http://user@127.0.0.1/", {}),
        ("http://127.0.0.1/", {"X": "a\r\nY: b"}),
        ("http://127.0.0.1/", {"X\n": "a"}),
        ("http://127.0.0.1/", {"X": "a\0"}),
        ("http://127.0.0.1/", {"Transfer-Encoding": "chunked"}),
    ],
)
async def test_a_request_that_would_be_another_one_is_not_sent(url: str, headers: dict[str, str]) -> None:
    async with made() as upstreams:
        with pytest.raises(UpstreamUnreachable):
            async with upstreams.send("GET", url, headers, Given()):
                pass
