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
SECRET_BYTES_MAX = 256
CANCEL_SECONDS_MAX = 5.0

Cancel = Callable[[], Awaitable[None]]


class Cancels:
    def __init__(self, directory: Path | None) -> None:
        """In the directory the processes that share a port find each other."""
        self.directory = directory
        self.pid = os.getpid()
        self.targets: dict[bytes, Cancel] = {}
        self.crew = Crew()
        self.letterbox: socket.socket | None = None

    def start(self) -> None:
        if self.directory is None:
            return
        own = self.path(self.pid)
        own.unlink(missing_ok=True)
        self.letterbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.letterbox.bind(str(own))
        own.chmod(0o600)
        asyncio.get_running_loop().add_reader(self.letterbox, self.receive, self.letterbox)

    async def close(self) -> None:
        await self.crew.close()
        if self.letterbox is not None:
            asyncio.get_running_loop().remove_reader(self.letterbox)
            self.letterbox.close()
            self.path(self.pid).unlink(missing_ok=True)

    def receive(self, letterbox: socket.socket) -> None:
        """What other processes were sent and is for us."""
        with suppress(BlockingIOError):
            secret = letterbox.recv(SECRET_BYTES_MAX)
            self.crew.start(self.cancel(self.pid, secret))

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
        if self.letterbox is not None:
            # Full, or that process is gone and its sessions with it: cancelling is a wish.
            with suppress(OSError):
                self.letterbox.sendto(secret, str(self.path(pid)))


async def deliver(path: Path, pid: int, secret: bytes) -> None:
    """Returns when the server has closed the connection, which it does after it has told its session."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CANCEL_SECONDS_MAX):
            _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, str(path))
            wire.write(messages.cancel(pid, secret))
            with suppress(messages.Gone):
                await wire.read(1)
            wire.transport.abort()
