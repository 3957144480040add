"""New connections to upstreams: the name is looked up, the guard asked, TLS made, all within one deadline."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, TypeAlias, TypeVar

import aiohappyeyeballs
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver

from gateway.kit.ssrf import AddressInfo, Guard, literal

# As aiohttp keeps them: a name's addresses may change, and the guard looks at each address anyway.
NAMES_SECONDS = 10.0
NAMES_MAX = 10_000
# RFC 8305 section 5: how long the next address waits for the one before it.
NEXT_ADDRESS_SECONDS = 0.25

P = TypeVar("P", bound=asyncio.Protocol)
Make: TypeAlias = Callable[[], P]


class Dialler:
    def __init__(self, guard: Guard, timeout_seconds: float) -> None:
        self.guard = guard
        self.timeout_seconds = timeout_seconds
        self.resolver: AbstractResolver | None = None
        self.names: dict[tuple[str, int], tuple[float, list[AddressInfo]]] = {}
        self.tls: ssl.SSLContext | None = None

    async def dial(self, make: Make[P], host: str, port: int, *, is_tls: bool) -> P:
        """OSError or TimeoutError when there is no connection, or none that the guard permits."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self.timeout_seconds):
            infos = await self.addresses(host, port)
            sock = await aiohappyeyeballs.start_connection(
                infos, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1, loop=loop,
                socket_factory=self.guard.socket_factory,
            )  # fmt: skip
            try:
                _, connection = await loop.create_connection(
                    make, sock=sock, ssl=self.context() if is_tls else None,
                    server_hostname=host.rstrip(".") if is_tls else None,
                )  # fmt: skip
            except BaseException:
                sock.close()
                raise
        return connection

    async def addresses(self, host: str, port: int) -> list[AddressInfo]:
        if literal(host) is not None:
            return [info(host, port)]
        until, known = self.names.get((host, port), (0.0, []))
        if until > time.monotonic():
            return known
        if self.resolver is None:
            self.resolver = DefaultResolver()
        try:
            found = await self.resolver.resolve(host, port, socket.AF_UNSPEC)
        except UnicodeError as error:
            raise OSError(f"{host} is no name") from error
        infos = [info(one["host"], one["port"]) for one in found]
        if len(self.names) >= NAMES_MAX:
            self.names.clear()
        self.names[host, port] = time.monotonic() + NAMES_SECONDS, infos
        return infos

    def context(self) -> ssl.SSLContext:
        """Made when it is first needed, because it reads all of the system's certificates."""
        if self.tls is None:
            self.tls = ssl.create_default_context()
            self.tls.set_alpn_protocols(["http/1.1"])
        return self.tls

    async def close(self) -> None:
        if self.resolver is not None:
            await self.resolver.close()


def info(host: str, port: int) -> AddressInfo:
    address: tuple[Any, ...] = (host, port)
    family = socket.AF_INET
    if ip_address(host.partition("%")[0]).version == 6:
        family, address = socket.AF_INET6, (host, port, 0, 0)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address
