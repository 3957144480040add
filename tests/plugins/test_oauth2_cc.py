import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

from gateway.auth_mode import TokenCache, UpstreamAuthFailed, called_urls, dump_settings
from gateway.kit import fetch
from gateway.kit.ssrf import Guard
from gateway.types import Fetch, Outbound, Vouched
from plugins import oauth2_cc
from plugins.oauth2_cc import MODE, Settings

REQUIRED = {
    "oauth2_token_url": "https://id.example.com/token",
    "oauth2_client_id": "client",
    "oauth2_client_secret": "s3cret",
}


class Endpoint:
    """An authorization server that answers what it is told to, and remembers the forms."""

    def __init__(self) -> None:
        self.forms: list[Mapping[str, object]] = []
        self.status = 200
        self.answer: object = {"access_token": "t-1", "token_type": "Bearer", "expires_in": 3600}
        self.url = ""

    async def token(self, request: web.Request) -> web.Response:
        self.forms.append(dict(await request.post()))
        # Long enough for everyone who asks at once to be waiting.
        await asyncio.sleep(0.05)
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return web.Response(body=body, status=self.status)

    def settings(self, **values: object) -> Settings:
        return Settings.model_validate({**REQUIRED, "oauth2_token_url": self.url, **values})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/token", endpoint.token)
    server = TestServer(app)
    async with server:
        endpoint.url = str(server.make_url("/token"))
        yield endpoint


@pytest.fixture
async def ask() -> AsyncIterator[Fetch]:
    guard = Guard(is_private_allowed=True)
    # The session that is really used, with all that it leaves out.
    async with fetch.session(guard) as session:
        yield fetch.guarded_fetch(guard, session)


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> TokenCache:
    cache = TokenCache()
    monkeypatch.setattr(oauth2_cc, "TOKENS", cache)
    return cache


def outbound(ask: Fetch) -> Outbound:
    return Outbound("GET", "https://api.example.com/v1/rates", {}, ask)


@pytest.mark.parametrize(
    ("scopes", "scope"),
    [([], {}), (["read"], {"scope": "read"}), (["read", "write:all"], {"scope": "read write:all"})],
)
async def test_asks_for_a_token_with_the_clients_credentials(
    endpoint: Endpoint, ask: Fetch, scopes: list[str], scope: Mapping[str, str]
) -> None:
    vouched = await MODE.authorize(endpoint.settings(oauth2_scopes=scopes), outbound(ask))
    assert vouched == Vouched({"Authorization": "Bearer t-1"})
    credentials = {"client_id": "client", "client_secret": "s3cret"}
    assert endpoint.forms == [{"grant_type": "client_credentials", **credentials, **scope}]


async def test_a_hundred_calls_at_once_ask_once(endpoint: Endpoint, ask: Fetch) -> None:
    calls = [MODE.authorize(endpoint.settings(), outbound(ask)) for _ in range(100)]
    assert await asyncio.gather(*calls) == [Vouched({"Authorization": "Bearer t-1"})] * 100
    assert len(endpoint.forms) == 1


async def test_a_refusal_reaches_every_call_and_is_not_remembered(endpoint: Endpoint, ask: Fetch) -> None:
    endpoint.status = 401
    calls = [MODE.authorize(endpoint.settings(), outbound(ask)) for _ in range(100)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(one) for one in outcomes if isinstance(one, UpstreamAuthFailed)} == {
        "the publisher's token endpoint issued no token: the answer was 401"
    }
    assert len(outcomes) == 100
    assert len(endpoint.forms) == 1
    endpoint.status = 200
    await MODE.authorize(endpoint.settings(), outbound(ask))
    assert len(endpoint.forms) == 2


async def test_other_settings_get_a_token_of_their_own(endpoint: Endpoint, ask: Fetch) -> None:
    for values in (
        {},
        {"oauth2_client_id": "b"},
        {"oauth2_client_secret": "c"},
        {"oauth2_scopes": ["d"]},
        {},
    ):
        await MODE.authorize(endpoint.settings(**values), outbound(ask))
    assert len(endpoint.forms) == 4


@pytest.mark.parametrize(
    ("expires_in", "lifetime_seconds"),
    [
        (3600, 3600),
        ("3599", 3599),  # as some vendors write it
        (None, 300),
        (True, 300),
        (-1, 300),
        ("soon", 300),
        (1.5, 300),
        (10**30, 300),
        (0, 0),
    ],
)
def test_how_long_a_token_lives(expires_in: object, lifetime_seconds: float) -> None:
    token = oauth2_cc.read(json.dumps({"access_token": "t", "expires_in": expires_in}).encode())
    assert token.lifetime_seconds == lifetime_seconds


def test_a_token_without_a_lifetime_is_kept_for_minutes() -> None:
    assert oauth2_cc.read(b'{"access_token": "t"}').lifetime_seconds == 300


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, {"error": "invalid_scope"}),
        (500, b""),
        (302, b""),
        (200, b"<html>"),
        (200, b""),
        (200, b"\xff"),
        (200, b"[" * 60_000),
        (200, []),
        (200, {"error": "invalid_client"}),            # some vendors' 200
        (200, {"access_token": ""}),
        (200, {"access_token": 7}),
        (200, {"access_token": "t\r\nX-Admin: 1"}),
        (200, {"access_token": "a b"}),
        (200, {"access_token": "tökén"}),
        (200, {"access_token": "t", "token_type": "mac"}),
        (200, {"access_token": "t", "token_type": None}),
        (200, {"access_token": "t" * 20_000}),
    ],
)  # fmt: skip
async def test_an_answer_without_a_usable_token_is_an_upstream_failure(
    endpoint: Endpoint, ask: Fetch, tokens: TokenCache, status: int, answer: object
) -> None:
    endpoint.status, endpoint.answer = status, answer
    with pytest.raises(UpstreamAuthFailed) as failed:
        await MODE.authorize(endpoint.settings(), outbound(ask))
    assert failed.value.status == 502
    assert not any(text in str(failed.value) for text in ("s3cret", "127.0.0.1", "X-Admin", "invalid"))
    assert tokens.kept == {}


async def test_an_endpoint_that_may_not_be_called_is_an_upstream_failure(endpoint: Endpoint) -> None:
    guard = Guard(is_private_allowed=False)
    async with aiohttp.ClientSession(connector=fetch.connector(guard)) as session:
        with pytest.raises(UpstreamAuthFailed, match="may not be called"):
            await MODE.authorize(endpoint.settings(), outbound(fetch.guarded_fetch(guard, session)))
    assert endpoint.forms == []


@pytest.mark.parametrize(
    "settings",
    [
        {"oauth2_token_url": None},
        {"oauth2_token_url": "file:///etc/passwd"},
        {"oauth2_token_url": "https://user:pass@id.example.com/token"},
        {"oauth2_client_id": ""},
        {"oauth2_client_secret": ""},
        {"oauth2_scopes": ["read write"]},
        {"oauth2_scopes": [""]},
        {"oauth2_scopes": ["a\nb"]},
        {"oauth2_scopes": "read"},
        {"oauth2_audience": "a"},
    ],
)
def test_what_cannot_be_asked_is_refused_when_saved(settings: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MODE.settings.model_validate({**REQUIRED, **settings})


def test_settings_are_saved_whole_and_shown_without_the_secret() -> None:
    settings = Settings.model_validate({**REQUIRED, "oauth2_scopes": ["read"]})
    assert dump_settings(settings) == {**REQUIRED, "oauth2_scopes": ["read"]}
    assert "s3cret" not in repr(settings)
    assert called_urls(settings) == ["https://id.example.com/token"]
