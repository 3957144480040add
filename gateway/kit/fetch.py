"""HTTP to addresses that users supply, through the guard."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias
from urllib.parse import urlencode

import aiohttp
from aiohttp.abc import AbstractResolver

from gateway.kit.ssrf import Blocked, Guard
from gateway.types import Fetch

TIMEOUT = aiohttp.ClientTimeout(total=10)
ANSWER_BYTES_MAX = 65_536
FORM = "application/x-www-form-urlencoded"

Ask: TypeAlias = Callable[
    [str, str, Mapping[str, str], Mapping[str, str], Mapping[str, str]], Awaitable[bytes]
]
"""Method, URL, headers, query and form, to the body of a good answer."""


class FetchFailed(OSError):
    """There was no good answer. An OSError, so that a plugin can catch it without knowing this module."""


def connector(
    guard: Guard, *, per_host: int = 0, resolver: AbstractResolver | None = None
) -> aiohttp.TCPConnector:
    """A pool that connects only to what the guard permits; 0 per host means as many as asked for."""
    return aiohttp.TCPConnector(
        limit=0,
        limit_per_host=per_host,
        resolver=resolver,
        socket_factory=guard.socket_factory,
    )


def session(guard: Guard) -> aiohttp.ClientSession:
    """For these functions: no cookies, which would travel from one publisher to the next, no second tries."""
    made = aiohttp.ClientSession(
        connector=connector(guard),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )
    # aiohttp sends an idempotent request again when a kept connection turns out closed.
    made._retry_connection = False
    return made


def guarded_fetch(guard: Guard, session: aiohttp.ClientSession) -> Fetch:
    """Return a function that POSTs a form and returns the body of a 2xx answer.

    It follows no redirects, and raises ``FetchFailed``, with public text, for all else.
    """
    ask = guarded_ask(guard, session)

    async def fetch(url: str, form: Mapping[str, str]) -> bytes:
        return await ask("POST", url, {}, {}, form)

    return fetch


def guarded_ask(guard: Guard, session: aiohttp.ClientSession) -> Ask:
    """The same with any method, more headers and parameters that are added to the URL's own."""

    async def ask(
        method: str, url: str, headers: Mapping[str, str], query: Mapping[str, str], form: Mapping[str, str]
    ) -> bytes:
        try:
            await guard.check(url)
            return await send(session, method, url, headers, query, form)
        except Blocked as blocked:
            raise FetchFailed("the URL may not be called") from blocked
        except TimeoutError as error:
            raise FetchFailed("there was no answer in time") from error
        except aiohttp.ClientError as error:
            raise FetchFailed("the connection failed") from error

    return ask


async def send(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    more: Mapping[str, str],
    query: Mapping[str, str],
    form: Mapping[str, str],
) -> bytes:
    # Not compressed: what 64 KiB unpack to has no bound.
    headers = {**more, "Accept": "application/json", "Accept-Encoding": "identity"}
    body = None
    if method != "GET":
        headers["Content-Type"] = FORM
        body = urlencode(form).encode()
    async with session.request(
        method, url, params=query or None, data=body, headers=headers, allow_redirects=False, timeout=TIMEOUT
    ) as response:
        if not 200 <= response.status < 300:
            raise FetchFailed(f"the answer was {response.status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchFailed("the answer was compressed")
        answer = bytearray()
        async for chunk in response.content.iter_any():
            answer += chunk
            if len(answer) > ANSWER_BYTES_MAX:
                raise FetchFailed("the answer was too large")
        return bytes(answer)
