"""Requests to cancel a query. They come on a connection of their own, with nothing but a key.

The key that a client has is ours, so that it says nothing of the database's. Its first number is the process
that made it: when the kernel gives a request to another process of ours, that one passes it on.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from gateway.kit.tasks import Crew
from gateway.pgwire import messages, metrics
from gateway.pgwire.wire import Wire

SHORT_BYTES, LONG_BYTES = 4, 32
CANCEL_SECONDS_MAX = 5.0

Cancel = Callable[[], Awaitable[None]]


class Cancels:
    def __init__(self, directory: Path | None) -> None:
        """In the directory the processes that share a port find each other."""
        self.directory = directory
        self.pid = os.getpid()
        self.targets: dict[bytes, Cancel] = {}
        self.crew = Crew()
        self.transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        if self.directory is not None:
            own = self.path(self.pid)
            own.unlink(missing_ok=True)
            loop = asyncio.get_running_loop()
            self.transport, _ = await loop.create_datagram_endpoint(
                lambda: Letterbox(self), local_addr=str(own), family=socket.AF_UNIX
            )
            own.chmod(0o600)

    async def close(self) -> None:
        await self.crew.close()
        if self.transport is not None:
            self.transport.close()
            self.path(self.pid).unlink(missing_ok=True)

    def path(self, pid: int) -> Path:
        assert self.directory is not None
        return self.directory / f"cancel-{pid}"

    def issue(self, cancel: Cancel, *, is_long: bool) -> bytes:
        """The secret half of a client's key, until it is withdrawn."""
        while (secret := secrets.token_bytes(LONG_BYTES if is_long else SHORT_BYTES)) in self.targets:
            pass
        self.targets[secret] = cancel
        return secret

    def withdraw(self, secret: bytes) -> None:
        del self.targets[secret]

    async def cancel(self, pid: int, secret: bytes) -> None:
        if pid != self.pid:
            self.pass_on(pid, secret)
        elif (target := self.targets.get(secret)) is None:
            # Nobody is told: a key that fits nobody's is all that a guess may find out.
            metrics.CANCELS.labels("unknown").inc()
        else:
            metrics.CANCELS.labels("passed_on").inc()
            await target()

    def pass_on(self, pid: int, secret: bytes) -> None:
        if self.transport is not None:
            with suppress(OSError):
                self.transport.sendto(secret, str(self.path(pid)))


class Letterbox(asyncio.DatagramProtocol):
    """Where the other processes' requests arrive."""

    def __init__(self, cancels: Cancels) -> None:
        self.cancels = cancels

    def datagram_received(self, data: bytes, address: object) -> None:
        self.cancels.crew.start(self.cancels.cancel(self.cancels.pid, data))

    def error_received(self, error: Exception) -> None:
        """That process is gone, and its sessions with it."""


async def deliver(path: Path, pid: int, secret: bytes) -> None:
    """Returns when the server has closed the connection, which it does after it has told its session."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CANCEL_SECONDS_MAX):
            _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, str(path))
            wire.write(messages.cancel(pid, secret))
            with suppress(messages.Gone):
                await wire.read(1)
            wire.transport.abort()
