"""A WebSocket upstream: messages, pings and close codes pass one by one, and no redirects are followed."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    DummyCookieJar,
    WSServerHandshakeError,
)
from yarl import URL

from config.settings import Upstream
from gateway.kit.fetch import connector
from gateway.kit.problem import Refusal
from gateway.kit.ssrf import Guard
from gateway.upstreams.exchange import UpstreamTimeout, UpstreamUnreachable

# From asking for the connection to having it.
HANDSHAKE_SECONDS = 15
# A side that is silent for longer is asked whether it is there.
HEARTBEAT_SECONDS = 30
MESSAGE_BYTES_MAX = 16 << 20

Socket: TypeAlias = ClientWebSocketResponse[bool]


class SocketRefused(Refusal):
    status, slug, title = 502, "upstream-websocket-refused", "The upstream refused the WebSocket"
    outcome = "upstream_refused"


async def refuse_redirects(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """A connection goes where it was priced and nowhere else, with the publisher's credentials or without."""
    response = await handler(request)
    if response.status != 101:
        response.close()
        raise SocketRefused(f"the publisher's upstream answered {response.status}; nothing was charged")
    return response


class SocketUpstreams:
    """One process's connections to everybody's WebSockets. They last, so they share no pool with calls."""

    def __init__(self, guard: Guard, settings: Upstream) -> None:
        self.session = ClientSession(
            connector=connector(guard, per_host=settings.connections_per_host),
            timeout=ClientTimeout(total=None, sock_connect=settings.connect_timeout_seconds),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            middlewares=(refuse_redirects,),
        )
        self.session._retry_connection = False

    @asynccontextmanager
    async def dial(
        self, url: str, headers: Mapping[str, str], protocols: Sequence[str]
    ) -> AsyncIterator[Socket]:
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                socket = await self.session.ws_connect(
                    URL(url, encoded=True), headers=headers, protocols=protocols, autoping=False,
                    autoclose=False, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX,
                    decode_text=False,
                )  # fmt: skip
        except TimeoutError:
            raise UpstreamTimeout(
                "the publisher's upstream gave no WebSocket in time; nothing was charged"
            ) from None
        except ClientConnectionError:
            raise UpstreamUnreachable(
                "the publisher's upstream cannot be reached; nothing was charged"
            ) from None
        except WSServerHandshakeError as error:
            raise SocketRefused(f"the publisher's upstream: {error.message}; nothing was charged") from None
        except (ClientError, ValueError):
            raise UpstreamUnreachable(
                "the publisher's upstream gave no proper answer; nothing was charged"
            ) from None
        try:
            yield socket
        finally:
            await socket.close()

    async def close(self) -> None:
        await self.session.close()
