"""The guard on every URL that a user supplies: what it may say, and which addresses it may reach.

``check`` answers whoever saves a URL. It cannot be the last word, because a name may resolve to another
address a second later, so ``socket_factory`` looks again at exactly the address being connected to. aiohttp
asks no resolver about a literal address but does ask the socket factory.
"""

import asyncio
import errno
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias

from yarl import URL

Address: TypeAlias = IPv4Address | IPv6Address
AddressInfo: TypeAlias = tuple[Any, Any, int, str, tuple[Any, ...]]

RESOLVE_TIMEOUT_SECONDS = 5.0

# Printable ASCII; a space, a control or a backslash means different hosts to different parsers.
PLAIN = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,2048}", re.ASCII)
PATH_OR_QUERY = re.compile(r"[/?#]")
# An internationalised name arrives in its ASCII form; a percent sign would be a zone or an encoded dot.
AUTHORITY = re.compile(r"([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{0,5})?", re.ASCII | re.IGNORECASE)
# What a resolver takes for an IPv4 address although it is not written as one: 127.1, 2130706433, 0x7f.1.
NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.ASCII | re.IGNORECASE)

# The IANA special-purpose registry, written out: what ``is_global`` says changes between Python versions.
SPECIAL_V4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
GLOBAL_V6 = IPv6Network("2000::/3")
# The first is more than Teredo, 2002::/16 is 6to4, and the others are for documentation.
SPECIAL_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))

# Cloud metadata and its like, never an upstream on any network. The Azure one is in a public range.
METADATA = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",
            "fe80::/10",
            "fd00:ec2::/32",
            "fd20:ce::/32",
            "100.100.100.200/32",
            "168.63.129.16/32",
            "192.0.0.192/32",
        ),
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
COMPATIBLE = IPv6Network("::/96")

# The Fetch standard's blocked ports that belong to protocols which read commands line by line: a request body
# would be a mail, a chat or a print job.
LINE_PORTS = frozenset({7, 9, 19, 21, 22, 23, 25, 110, 119, 143, 465, 515, 563, 587, 993, 995, 6667, 6697})


class Blocked(ValueError):
    """Why a URL is refused. The text is public."""


async def resolve(host: str) -> Sequence[str]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in infos]


@dataclass(frozen=True, slots=True)
class Guard:
    """With ``is_private_allowed``, only metadata addresses are refused."""

    is_private_allowed: bool
    resolve: Callable[[str], Awaitable[Sequence[str]]] = resolve

    async def check(self, url: str) -> None:
        """Raise ``Blocked`` unless this URL may be called, as far as can be told now."""
        parsed = parse(url)
        host = parsed.raw_host or ""
        if not self.is_private_allowed:
            refuse_local(host, parsed.port)
        for address in await self.addresses(host):
            if not self.permits(address):
                raise Blocked(f"{host} is not on the public internet")

    async def addresses(self, host: str) -> Sequence[str]:
        if literal(host) is not None:
            return [host]
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_SECONDS):
                found = await self.resolve(host)
        # UnicodeError is a label that is empty or too long for DNS.
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise Blocked(f"{host} does not resolve")
        return found

    def permits(self, address: str) -> bool:
        parsed = literal(address)
        if parsed is None:
            return False
        return all(self.permits_one(one) for one in meanings(parsed))

    def permits_one(self, address: Address) -> bool:
        if any(address in network for network in METADATA):
            return False
        return self.is_private_allowed or is_public(address)

    def socket_factory(self, info: AddressInfo) -> socket.socket:
        """For ``aiohttp.TCPConnector(socket_factory=…)``. PermissionError is an OSError to its callers."""
        family, kind, protocol, _, address = info
        if family not in (socket.AF_INET, socket.AF_INET6) or not self.permits(str(address[0])):
            raise PermissionError(errno.EACCES, "the address is not on the public internet")
        return socket.socket(family=family, type=kind, proto=protocol)


def parse(url: str) -> URL:
    """What can be said of a URL without asking anybody; with the parser of the client that will call it."""
    if PLAIN.fullmatch(url) is None:
        raise Blocked("a URL is printable ASCII without spaces or backslashes")
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):
        raise Blocked("only http and https URLs can be called")
    refuse_misleading(PATH_OR_QUERY.split(rest, maxsplit=1)[0])
    if "#" in url:
        raise Blocked("a URL must not carry a fragment")
    try:
        parsed = URL(url)
        host, port = parsed.host, parsed.port
    except ValueError:
        raise Blocked("this is not a URL") from None
    if not host or not port:
        raise Blocked("a URL names a host, and a port from 1 to 65535 if any")
    return parsed


def refuse_misleading(authority: str) -> None:
    if "@" in authority:
        raise Blocked("a URL must not carry a user name or password")
    match = AUTHORITY.fullmatch(authority)
    if match is None:
        raise Blocked("the host is neither a name nor an address")
    if NUMERIC.fullmatch(match[1]) and literal(match[1]) is None:
        raise Blocked("an IPv4 address is written as four decimal numbers")


def refuse_local(host: str, port: int | None) -> None:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        raise Blocked(f"{host} is not on the public internet")
    if port in LINE_PORTS:
        raise Blocked(f"port {port} belongs to another protocol")


def literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def meanings(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses that some translator on the way would take it for.

    Only NAT64's own address says nothing by itself: a host that has no IPv4 reaches all of it that way.
    """
    if isinstance(address, IPv4Address):
        yield address
        return
    if address in NAT64:
        yield low_bits(address)
        return
    yield address
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in COMPATIBLE:
        yield low_bits(address)


def low_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_V4)
    return address in GLOBAL_V6 and not any(address in network for network in SPECIAL_V6)
