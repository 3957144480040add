"""A server's socket on another machine: a connection to a socket here is one to the agent, and one there."""

import asyncio
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TypeAlias

import aiohttp
from aiohttp import WSMsgType, web

from control.computes import settings
from control.computes.wire import BEAT_SECONDS
from gateway.kit.tasks import Crew

WebSocket: TypeAlias = aiohttp.ClientWebSocketResponse | web.WebSocketResponse

PIECE_BYTES = 1 << 16


class Tunnels:
    """The sockets here, one for each endpoint, in a directory that nobody else may enter."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self.http, self.base = http, base
        # Not the user's own directory for temporary files: a socket's path has to be short.
        self.root = Path(tempfile.mkdtemp(prefix="farebox-", dir="/tmp"))
        self.servers: dict[str, asyncio.Server] = {}
        self.one_at_a_time = asyncio.Lock()

    async def close(self) -> None:
        for server in self.servers.values():
            server.close()
        shutil.rmtree(self.root, ignore_errors=True)

    async def sockets(self, endpoint: str) -> Path:
        """The directory to connect to the endpoint by."""
        directory = self.root / hashlib.sha256(endpoint.encode()).hexdigest()[:16]
        async with self.one_at_a_time:
            if endpoint not in self.servers:
                directory.mkdir(mode=0o700)

                async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    await self.forward(endpoint, reader, writer)

                path = directory / f".s.PGSQL.{settings.PORT}"
                self.servers[endpoint] = await asyncio.start_unix_server(connected, path)
        return directory

    async def forward(
        self, endpoint: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        url = f"{self.base}/endpoints/{endpoint}/connect"
        try:
            async with self.http.ws_connect(url, heartbeat=BEAT_SECONDS, max_msg_size=0) as socket:
                await splice(socket, reader, writer)
        except (aiohttp.ClientError, OSError):
            # It is gone or does not run: whoever connected sees the end, as of a server that is not there.
            pass
        finally:
            writer.close()


async def answer(request: web.Request, sockets: Path) -> web.WebSocketResponse:
    """The agent's end of it."""
    reader, writer = await asyncio.open_unix_connection(sockets / f".s.PGSQL.{settings.PORT}")
    try:
        socket = web.WebSocketResponse(heartbeat=BEAT_SECONDS, max_msg_size=0, compress=False)
        await socket.prepare(request)
        await splice(socket, reader, writer)
    finally:
        writer.close()
    return socket


async def splice(socket: WebSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side ends."""
    crew = Crew()
    crew.start(send(socket, reader))
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                writer.write(message.data)
                await writer.drain()
    except OSError:
        # The server ended while something was on its way to it.
        pass
    finally:
        await crew.close()
        await socket.close()


async def send(socket: WebSocket, reader: asyncio.StreamReader) -> None:
    try:
        while data := await reader.read(PIECE_BYTES):
            await socket.send_bytes(data)
    except OSError:
        pass
    finally:
        await socket.close()
