"""The proxy of one process: who connects, and what becomes of them when the process is to end."""

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

import structlog

from config.pgproxy import PgProxy
from gateway.kit.proxies import unmapped
from gateway.kit.tasks import Crew
from gateway.pgwire import connection, metrics
from gateway.pgwire.canceling import Cancels
from gateway.pgwire.computes import Computes
from gateway.pgwire.connection import House
from gateway.pgwire.messages import Fatal
from gateway.pgwire.places import Places
from gateway.pgwire.pools import Pools
from gateway.pgwire.tls import Certificate
from gateway.pgwire.waking import Waker

log = structlog.get_logger(__name__)

BACKLOG = 1024
ACCEPTED_AT_ONCE = 64
LOOK_SECONDS = 1.0
DRAIN_LOOK_SECONDS = 0.1
# The supervisor gives a process a little more than this.
DRAIN_SECONDS_MAX = 20.0
PARTING_SECONDS = 1.0
# What an idle client may still have under way to us.
ENDING = Fatal("57P01", "terminating connection because the proxy restarts", "Connect again.")


class Proxy:
    def __init__(
        self, settings: PgProxy, computes: Computes, certificate: Certificate | None, mock_secret: bytes
    ) -> None:
        self.crew = Crew()
        waker = Waker(computes, settings.wake_seconds_max)
        self.house = House(
            settings, computes, certificate, mock_secret, waker, Pools(settings, waker),
            Cancels(settings.cancel_dir), Places(settings),
        )  # fmt: skip

    def run(self, listening: socket.socket, stack: AsyncExitStack) -> None:
        """Serve until the stack is left, which ends sessions as they become idle."""
        house = self.house
        stack.push_async_callback(house.waker.close)
        stack.push_async_callback(house.pools.close)
        house.cancels.start()
        stack.push_async_callback(house.cancels.close)
        stack.push_async_callback(self.crew.close)
        stack.push_async_callback(self.drain)
        self.crew.start(self.look())
        listening.settimeout(0)
        listening.listen(BACKLOG)
        loop = asyncio.get_running_loop()
        loop.add_reader(listening, self.accept, listening)
        stack.callback(self.leave, listening)

    def accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                near, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            near.settimeout(0)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.crew.start(self.attend(near, unmapped(ip_address(peer[0].partition("%")[0]))))

    async def attend(self, near: socket.socket, address: IPv4Address | IPv6Address) -> None:
        try:
            with self.house.places.of(str(address)):
                await connection.attend(self.house, near, address)
        except Fatal as error:
            metrics.ENDED.labels(error.sqlstate).inc()
            with suppress(OSError):
                near.send(error.written())
            near.close()
        except Exception:
            # A bug ends one connection, and is to be found out about.
            log.exception("pgproxy.failed", address=str(address))

    async def look(self) -> None:
        """Tell now and then who is used: not for each piece that passes."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for serving in self.house.serving:
                connection.count(self.house.computes, serving)
            self.house.pools.look()

    def leave(self, listening: socket.socket) -> None:
        """Take nobody in any more, but those whom the kernel has greeted already."""
        asyncio.get_running_loop().remove_reader(listening)
        self.accept(listening)

    async def drain(self) -> None:
        """Sessions that are idle end a while after the process was told to, others as they become so."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while self.house.places.taken and loop.time() - since < DRAIN_SECONDS_MAX:
            if loop.time() - since >= self.house.settings.drain_seconds:
                self.send_away(is_all=False)
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        self.send_away(is_all=True)
        if self.house.places.taken:
            await asyncio.sleep(PARTING_SECONDS)

    def send_away(self, *, is_all: bool) -> None:
        for serving in list(self.house.serving):
            if is_all or serving.session.is_idle:
                serving.session.end(ENDING)
