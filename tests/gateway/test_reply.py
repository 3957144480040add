"""Answers to calls as a caller's socket sees them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from multidict import CIMultiDict

from config.settings import Listen
from gateway.front.reply import Reply, refuse
from gateway.front.server import Front
from gateway.kit.problem import NotFound, Refusal, invalid, problem
from gateway.x402.offers import PaymentRequired
from gateway.x402.wire import Resource
from tests.waiting import SECONDS_MAX

Make = Callable[[web.BaseRequest], Reply]
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n"


@asynccontextmanager
async def serving(answer: Callable[[web.BaseRequest], "asyncio.Future[Reply]"]) -> AsyncIterator[int]:
    front = Front(answer, Listen())
    listener = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    await front.shutdown(1)


async def talk(port: int, data: bytes, seconds: float = 0.3) -> tuple[bytes, bool]:
    """What comes back, and whether the server closed: at the latest so long after what came last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer, is_closed, patience = b"", False, SECONDS_MAX
    try:
        while more := await asyncio.wait_for(reader.read(65_536), patience):
            answer += more
            patience = SECONDS_MAX if b"Connection: close" in answer else seconds
        is_closed = True
    except TimeoutError:
        pass
    except ConnectionError:
        is_closed = True
    writer.transport.abort()
    return answer, is_closed


def lines(answer: bytes) -> list[bytes]:
    head = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return [line for line in head if not line.startswith(b"Date: ")]


@pytest.mark.parametrize(
    ("head", "status", "fields", "expected", "body", "is_closed"),
    [
        (GET, 200, {}, [b"Content-Length: 2"], b"ok", False),
        (GET, 200, {"Content-Length": "2"}, [b"Content-Length: 2"], b"ok", False),
        (GET + b"Connection: close\r\n", 200, {}, [b"Content-Length: 2", b"Connection: close"], b"ok", True),
        (b"GET /x HTTP/1.0\r\n", 200, {}, [b"Content-Length: 2", b"Connection: close"], b"ok", True),
        (
            b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n", 200, {},
            [b"Content-Length: 2", b"Connection: keep-alive"], b"ok", False,
        ),
        # What a GET would have had, where the upstream said so, and nothing of a body.
        (GET.replace(b"GET", b"HEAD"), 200, {"Content-Length": "7"}, [b"Content-Length: 7"], b"", False),
        (GET.replace(b"GET", b"HEAD"), 200, {}, [], b"", False),
        (GET, 304, {"Content-Length": "7"}, [b"Content-Length: 7"], b"", False),
        (GET, 204, {"Content-Length": "7"}, [], b"", False),
        # What frames a message is the gateway's own to say.
        (GET, 200, {"Transfer-Encoding": "gzip", "Connection": "x"}, [b"Content-Length: 2"], b"ok", False),
        (GET, 200, {"X": "\udcff"}, [b"X: \xff", b"Content-Length: 2"], b"ok", False),
    ],
)  # fmt: skip
async def test_a_whole_answer(
    head: bytes, status: int, fields: dict[str, str], expected: list[bytes], body: bytes, is_closed: bool
) -> None:
    async def answer(request: web.BaseRequest) -> Reply:
        reply = Reply(request, status, "Fine", CIMultiDict(fields))
        reply.send_whole(b"ok")
        return reply

    async with serving(answer) as port:  # type: ignore[arg-type]
        got, was_closed = await talk(port, head + b"\r\n")
        assert lines(got) == [b"HTTP/1.1 %d Fine" % status, *expected]
        assert (got.partition(b"\r\n\r\n")[2], was_closed) == (body, is_closed)


@pytest.mark.parametrize(
    ("head", "fields", "expected", "body", "is_closed"),
    [
        (GET, {}, [b"Transfer-Encoding: chunked"], b"2\r\non\r\n1\r\ne\r\n0\r\n\r\n", False),
        (GET, {"Content-Length": "3"}, [b"Content-Length: 3"], b"one", False),
        # Before HTTP/1.1 there are no chunks: the end of the connection is the end of the body.
        (b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n", {}, [b"Connection: close"], b"one", True),
        (GET.replace(b"GET", b"HEAD"), {}, [], b"", False),
        # Neither more nor less than was promised, or the next answer would begin in the middle of this one.
        (GET, {"Content-Length": "2"}, [b"Content-Length: 2"], b"on", True),
        (GET, {"Content-Length": "4"}, [b"Content-Length: 4"], b"one", True),
    ],
)
async def test_an_answer_in_pieces(
    head: bytes, fields: dict[str, str], expected: list[bytes], body: bytes, is_closed: bool
) -> None:
    async def answer(request: web.BaseRequest) -> Reply:
        reply = Reply(request, 200, "OK", CIMultiDict(fields))
        await reply.begin()
        for part in (b"on", b"", b"e"):
            await reply.send(part)
        await reply.end()
        return reply

    async with serving(answer) as port:  # type: ignore[arg-type]
        got, was_closed = await talk(port, head + b"\r\n")
        assert lines(got) == [b"HTTP/1.1 200 OK", *expected]
        assert (got.partition(b"\r\n\r\n")[2], was_closed) == (body, is_closed)


async def test_requests_that_are_sent_ahead_are_answered_in_order() -> None:
    numbers = iter(range(1000))

    async def answer(request: web.BaseRequest) -> Reply:
        await asyncio.sleep(0.001)
        reply = Reply(request, 200, "OK", CIMultiDict())
        reply.send_whole(b"(%s:%d)" % (request.path.encode(), next(numbers)))
        return reply

    async with serving(answer) as port:  # type: ignore[arg-type]
        got, _ = await talk(port, b"".join(GET.replace(b"/x", b"/%d" % n) + b"\r\n" for n in range(100)), 1)
        for number in range(100):
            assert b"(/%d:%d)" % (number, number) in got
        assert got.count(b"HTTP/1.1 200") == 100


async def test_a_problem_behind_an_answer_ends_the_connection_and_says_nothing() -> None:
    async def answer(request: web.BaseRequest) -> Reply:
        reply = Reply(request, 200, "OK", CIMultiDict())
        reply.send_whole(b"ok")
        return refuse(request, problem(402, "x", "X", "x"), CIMultiDict())

    async with serving(answer) as port:  # type: ignore[arg-type]
        got, was_closed = await talk(port, GET + b"\r\n")
        assert (b"402" in got, was_closed) == (False, True)


@pytest.mark.parametrize("fields", [{"X": "a\r\nY: b"}, {"X": "a\n"}])
async def test_a_header_with_a_line_end_in_it_is_a_bug_and_not_two_headers(fields: dict[str, str]) -> None:
    async def answer(request: web.BaseRequest) -> Reply:
        reply = Reply(request, 200, "OK", CIMultiDict(fields))
        reply.send_whole(b"ok")
        return reply

    async with serving(answer) as port:  # type: ignore[arg-type]
        got, was_closed = await talk(port, GET + b"\r\n", 5)
        assert (got.startswith(b"HTTP/1.1 500 "), b"Y: b" in got, was_closed) == (True, False, True)


@pytest.mark.parametrize("rest", [b"zz\r\n", b"", b"0\r\n\r\n" + GET + b"\r\n"])
async def test_an_answer_before_the_end_of_the_body_is_given_and_the_rest_is_read(rest: bytes) -> None:
    async def answer(request: web.BaseRequest) -> Reply:
        reply = Reply(request, 200, "OK", CIMultiDict())
        reply.send_whole(b"ok")
        return reply

    async with serving(answer) as port:  # type: ignore[arg-type]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        writer.write(rest)
        if b"GET" in rest:
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        elif rest:
            # What is not framed as it says ends the connection, and nothing more is said.
            async with asyncio.timeout(SECONDS_MAX):
                assert b"HTTP/1.1 200" not in await reader.read()
        writer.transport.abort()


@pytest.mark.parametrize(
    "refusal",
    [
        NotFound("no publisher é ☃ \x7f </script>"),
        invalid("body/a", "is no number"),
        PaymentRequired(
            "pay",
            Resource("http://a/b", "a call"),
            [],
            error="x",
            balance={"missing": None, "has": 1},
            left=None,
        ),
    ],
)
def test_a_refusal_is_written_as_its_problem(refusal: Refusal) -> None:
    assert refusal.written() == refusal.problem().model_dump_json(exclude_none=True).encode()
