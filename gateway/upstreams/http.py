"""An HTTP upstream: pooled keep-alive connections, bodies streamed both ways and never decoded, no redirects.

Nothing is ever sent twice: a request that broke may have run, and only its caller knows whether it may run
again.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerTimeoutError,
)
from multidict import CIMultiDictProxy
from yarl import URL

from config.settings import Upstream
from gateway.kit.fetch import connector
from gateway.kit.problem import Refusal
from gateway.kit.ssrf import Guard
from gateway.types import Answer, Body, Head

# What is read ahead of the caller; behind it the upstream waits.
READ_BYTES = 1 << 16

Pass: TypeAlias = Callable[[CIMultiDictProxy[str]], CIMultiDictProxy[str]]
"""Which of an upstream's headers its caller may see."""


class UpstreamUnreachable(Refusal):
    status, slug, title = 502, "upstream-unreachable", "Upstream unreachable"
    outcome = "upstream_failed"


class UpstreamTimeout(Refusal):
    status, slug, title = 504, "upstream-timeout", "Upstream timeout"
    outcome = "upstream_timeout"


class HttpUpstreams:
    """The connections of one process to everybody's upstreams."""

    def __init__(self, guard: Guard, settings: Upstream) -> None:
        self.session = ClientSession(
            connector=connector(guard, per_host=settings.connections_per_host),
            timeout=ClientTimeout(
                total=settings.total_timeout_seconds, sock_connect=settings.connect_timeout_seconds
            ),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            read_bufsize=READ_BYTES,
            max_line_size=1 << 14,
            max_field_size=1 << 16,
        )
        # aiohttp sends an idempotent request again when a kept connection turns out closed.
        self.session._retry_connection = False

    @asynccontextmanager
    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, passed: Pass
    ) -> AsyncIterator[Answer]:
        """Yield the answer as soon as its head is there."""
        request = self.session.request(
            method,
            URL(url, encoded=True),
            headers=headers,
            data=None if body.length == 0 else body.chunks(),
            allow_redirects=False,
        )
        try:
            response = await request
        except (ServerTimeoutError, TimeoutError):
            raise UpstreamTimeout(
                "the publisher's upstream did not answer in time; nothing was charged"
            ) from None
        except ClientConnectionError as error:
            raise why(error) from None
        except (ClientError, ValueError):
            raise UpstreamUnreachable(
                "the publisher's upstream gave no proper answer; nothing was charged"
            ) from None
        try:
            if response.status < 200:
                raise UpstreamUnreachable(
                    "the publisher's upstream wants to change protocols; nothing was charged"
                )
            reason = response.reason or ""
            # What may not stand in a status line is left out of it: RFC 9112 section 4.
            head = Head(response.status, reason if reason.isprintable() else "", passed(response.headers))
            yield Answer(head, response.content.iter_any())
        finally:
            # A body that was read to its end gives its connection back; any other closes it.
            response.close() if not response.content.at_eof() else response.release()

    def connections(self) -> tuple[int, int]:
        """How many are carrying a call, and how many wait for one."""
        pool = self.session.connector
        # aiohttp counts them and has no word for it.
        return (0, 0) if pool is None else (len(pool._acquired), sum(map(len, pool._conns.values())))

    async def close(self) -> None:
        await self.session.close()


def why(error: ClientConnectionError) -> Refusal:
    """A request may also fail at its own body: too large, or never sent to its end."""
    cause = error.__cause__
    if isinstance(cause, Refusal):
        return cause
    return UpstreamUnreachable("the publisher's upstream cannot be reached; nothing was charged")
