import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from gateway.kit.post import EXCERPT_BYTES, Post, posting
from gateway.kit.ssrf import Guard

PUBLIC = "93.184.216.34"


async def created(request: web.Request) -> web.Response:
    return web.Response(status=201, text=(await request.text()).upper())


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect("/created")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 8192)


async def dawdling(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"so far\0")
    await asyncio.sleep(60)
    return response


async def bomb(request: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(b"x" * 50_000_000), headers={"Content-Encoding": "gzip"})


async def silent(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def broken(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def busy(request: web.Request) -> web.Response:
    return web.Response(status=503, headers={"Retry-After": "120"})


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    for handler in (created, redirect, endless, dawdling, bomb, silent, broken, busy):
        app.router.add_post(f"/{handler.__name__}", handler)
    server = TestServer(app)
    async with server:
        yield server


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async with posting(Guard(is_private_allowed=True), 3) as post:
        yield post


def is_whole(text: str | None) -> bool:
    return text is not None and 0 < len(text) <= EXCERPT_BYTES


@pytest.mark.parametrize(
    ("path", "status", "is_excerpt_right"),
    [
        ("created", 201, lambda text: text == "HELLO"),
        ("redirect", 307, is_whole),                     # and it is not followed
        ("endless", 200, lambda text: text == "x" * EXCERPT_BYTES),
        ("dawdling", 200, lambda text: text == "so far\N{REPLACEMENT CHARACTER}"),
        ("bomb", 200, is_whole),                         # and it is not unpacked
    ],
)  # fmt: skip
async def test_the_head_decides_and_the_body_is_an_excerpt(
    server: TestServer, post: Post, path: str, status: int, is_excerpt_right: Callable[[Any], bool]
) -> None:
    reply = await post(str(server.make_url(f"/{path}")), {}, b"hello")
    assert (reply.status, reply.error) == (status, None)
    assert is_excerpt_right(reply.excerpt)


@pytest.mark.parametrize(
    ("path", "error"),
    [("silent", "there was no answer within 3 seconds"), ("broken", "the connection failed")],
)
async def test_no_answer_is_an_outcome(server: TestServer, post: Post, path: str, error: str) -> None:
    reply = await post(str(server.make_url(f"/{path}")), {}, b"")
    assert (reply.status, reply.error) == (None, error)


async def test_a_receiver_says_when_to_come_back(server: TestServer, post: Post) -> None:
    reply = await post(str(server.make_url("/busy")), {}, b"")
    assert (reply.status, reply.retry_after) == (503, "120")


async def test_what_is_no_http_is_a_connection_that_failed(post: Post) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"+PONG\r\n" * 10)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await post(f"http://127.0.0.1:{port}/", {}, b"")).error == "the connection failed"


class Rebinding(AbstractResolver):
    """Says that a name is on loopback, after the guard was told that it is not."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("rebound.example", "the connection failed"),
        ("127.0.0.1", "the URL may not be called: it is not on the public internet"),
        ("[::ffff:127.0.0.1]", "the URL may not be called: it is not on the public internet"),
    ],
)
async def test_a_private_address_is_never_reached(host: str, error: str) -> None:
    hits: list[str] = []

    async def hit(request: web.Request) -> web.Response:
        hits.append(request.path)
        return web.Response()

    async def resolve(host: str) -> list[str]:
        return [PUBLIC]

    app = web.Application()
    app.router.add_post("/", hit)
    guard = Guard(is_private_allowed=False, resolve=resolve)
    async with TestServer(app) as server, posting(guard, 3, Rebinding()) as post:
        reply = await post(f"http://{host}:{server.port}/", {}, b"")
    assert (reply.status, reply.error, hits) == (None, error, [])
