import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.kit import fetch
from gateway.kit.fetch import ANSWER_BYTES_MAX, FetchFailed
from gateway.kit.ssrf import Guard
from gateway.types import Fetch

SEEN = web.AppKey("seen", list[Mapping[str, object]])


async def token(request: web.Request) -> web.Response:
    request.app[SEEN].append(
        {"form": dict(await request.post()), "cookies": dict(request.cookies), "type": request.content_type}
    )
    response = web.json_response({"access_token": "t"})
    response.set_cookie("session", "one-publisher's")
    return response


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect("/token")


async def denied(request: web.Request) -> web.Response:
    return web.json_response({"error": "invalid_client", "you_sent": await request.text()}, status=401)


async def exactly(request: web.Request) -> web.Response:
    return web.Response(body=b"x" * int(request.match_info["length"]))


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 8192)


async def bomb(request: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(b"x" * 50_000_000), headers={"Content-Encoding": "gzip"})


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def broken(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app[SEEN] = []
    for handler in (token, redirect, denied, endless, bomb, slow, broken):
        app.router.add_post(f"/{handler.__name__}", handler)
    app.router.add_post("/exactly/{length}", exactly)
    server = TestServer(app)
    async with server:
        yield server


@pytest.fixture
async def ask() -> AsyncIterator[Fetch]:
    guard = Guard(is_private_allowed=True)
    # The session that is really used, with all that it leaves out.
    async with fetch.session(guard) as session:
        yield fetch.guarded_fetch(guard, session)


async def test_posts_a_form_and_returns_the_body(server: TestServer, ask: Fetch) -> None:
    assert await ask(str(server.make_url("/token")), {"a": "b&c", "d": "é"}) == b'{"access_token": "t"}'
    (seen,) = server.app[SEEN]
    assert seen["form"] == {"a": "b&c", "d": "é"}
    assert seen["type"] == "application/x-www-form-urlencoded"


async def test_nothing_is_carried_from_one_fetch_to_the_next(server: TestServer, ask: Fetch) -> None:
    for _ in range(2):
        await ask(str(server.make_url("/token")), {})
    assert [seen["cookies"] for seen in server.app[SEEN]] == [{}, {}]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/redirect", "the answer was 307"),
        ("/denied", "the answer was 401"),
        ("/nowhere", "the answer was 404"),
        (f"/exactly/{ANSWER_BYTES_MAX + 1}", "too large"),
        ("/endless", "too large"),
        ("/bomb", "compressed"),
        ("/broken", "the connection failed"),
    ],
)
async def test_no_good_answer_is_an_error_that_repeats_nothing(
    server: TestServer, ask: Fetch, path: str, message: str
) -> None:
    with pytest.raises(FetchFailed, match=message) as failed:
        await ask(str(server.make_url(path)), {"client_secret": "s3cret"})
    assert "s3cret" not in str(failed.value)
    assert isinstance(failed.value, OSError)
    assert server.app[SEEN] == []


async def test_the_largest_answer_is_returned_whole(server: TestServer, ask: Fetch) -> None:
    assert len(await ask(str(server.make_url(f"/exactly/{ANSWER_BYTES_MAX}")), {})) == ANSWER_BYTES_MAX


async def test_a_slow_answer_is_an_error(
    server: TestServer, ask: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", aiohttp.ClientTimeout(total=0.05))
    with pytest.raises(FetchFailed, match="in time"):
        await ask(str(server.make_url("/slow")), {})


async def test_a_port_where_nobody_listens_is_an_error(server: TestServer, ask: Fetch) -> None:
    url = str(server.make_url("/token"))
    await server.close()
    with pytest.raises(FetchFailed, match="the connection failed"):
        await ask(url, {})


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://u:s3cret@127.0.0.1/", "http://169.254.169.254/"])
async def test_a_url_that_may_not_be_called_is_an_error(ask: Fetch, url: str) -> None:
    with pytest.raises(FetchFailed, match="may not be called"):
        await ask(url, {})


async def test_the_guard_holds_even_if_it_was_deceived_before(server: TestServer) -> None:
    async def deceive(host: str) -> list[str]:
        return ["1.1.1.1"]

    guard = Guard(is_private_allowed=False, resolve=deceive)
    async with aiohttp.ClientSession(connector=fetch.connector(guard)) as session:
        ask = fetch.guarded_fetch(guard, session)
        with pytest.raises(FetchFailed, match="the connection failed"):
            await ask(f"http://localhost.example:{server.port}/token", {})
        with pytest.raises(FetchFailed, match="may not be called"):
            await ask(f"http://localhost:{server.port}/token", {})
    assert server.app[SEEN] == []
