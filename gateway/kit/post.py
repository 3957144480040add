"""A message POSTed to an address that a user supplied, and what came back: never an exception, because what a
stranger's server does is an outcome like any other.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar
from aiohttp.abc import AbstractResolver

from gateway.kit.fetch import connector
from gateway.kit.ssrf import Blocked, Guard

# What is kept of an answer; the rest is not read.
EXCERPT_BYTES = 1024
# The status decides, so a body that dawdles is not waited for.
EXCERPT_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Reply:
    """``status`` is None when there was no answer, and ``error`` then says why."""

    status: int | None
    excerpt: str | None = None
    error: str | None = None
    retry_after: str | None = None


Post: TypeAlias = Callable[[str, Mapping[str, str], bytes], Awaitable[Reply]]


@asynccontextmanager
async def posting(
    guard: Guard, timeout_seconds: float, resolver: AbstractResolver | None = None
) -> AsyncIterator[Post]:
    """Yield a function that sends a body and follows no redirects. The timeout is for all of it."""
    async with ClientSession(
        connector=connector(guard, resolver=resolver),
        timeout=ClientTimeout(total=timeout_seconds),
        cookie_jar=DummyCookieJar(),
        # What a few bytes unpack to has no bound.
        auto_decompress=False,
    ) as session:

        async def post(url: str, headers: Mapping[str, str], body: bytes) -> Reply:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await guard.check(url)
                    return await send(session, url, headers, body)
            except Blocked:
                return Reply(None, error="the URL may not be called: it is not on the public internet")
            except TimeoutError:
                return Reply(None, error=f"there was no answer within {timeout_seconds:g} seconds")
            # ValueError is an answer that is no HTTP.
            except (ClientError, OSError, ValueError):
                return Reply(None, error="the connection failed")

        yield post


async def send(session: ClientSession, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
    asked = {"Accept-Encoding": "identity", **headers}
    response = await session.post(url, data=body, headers=asked, allow_redirects=False)
    try:
        excerpt = await first_of(response)
    finally:
        # A body that was read to its end gives its connection back; any other closes it.
        response.release() if response.content.at_eof() else response.close()
    return Reply(response.status, excerpt, retry_after=response.headers.get("Retry-After"))


async def first_of(response: ClientResponse) -> str | None:
    kept = bytearray()
    with suppress(ClientError, TimeoutError, OSError):
        async with asyncio.timeout(EXCERPT_SECONDS):
            while len(kept) < EXCERPT_BYTES and (chunk := await response.content.read(EXCERPT_BYTES)):
                kept += chunk
    # Postgres stores no U+0000.
    return bytes(kept[:EXCERPT_BYTES]).decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
