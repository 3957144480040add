import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from gateway.kit import fetch, ssrf
from gateway.kit.ssrf import Blocked, Guard

NAMES = {
    "api.example.com": ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    "xn--bcher-kva.example": ["93.184.215.14"],
    "under_score.example": ["93.184.215.14"],
    "inside.example.com": ["10.0.0.7"],
    "half.example.com": ["93.184.215.14", "127.0.0.1"],
    "six.example.com": ["fd00::7"],
    "scoped.example.com": ["fe80::1%eth0"],
    "metadata.example.com": ["169.254.169.254"],
    "127.0.0.1.example.com": ["127.0.0.1"],
    "empty.example.com": [],
}


async def resolve(host: str) -> Sequence[str]:
    try:
        return NAMES[host]
    except KeyError:
        raise socket.gaierror(socket.EAI_NONAME, "unknown") from None


async def believe(host: str) -> Sequence[str]:
    return ["1.1.1.1"]


STRICT = Guard(is_private_allowed=False, resolve=resolve)
LENIENT = Guard(is_private_allowed=True, resolve=resolve)
# What it refuses, it refuses for how it is written.
CREDULOUS = Guard(is_private_allowed=False, resolve=believe)

PUBLIC = [
    "https://api.example.com/v1?a=b@c",
    "https://API.example.com",
    "http://api.example.com:8080/",
    "https://api.example.com:/",
    "https://xn--bcher-kva.example/",
    "https://under_score.example/",
    "https://1.1.1.1/",
    "https://100.63.255.255/",
    "https://100.128.0.0/",
    "https://172.15.255.255/",
    "https://172.32.0.0/",
    "https://223.255.255.255/",
    "https://[2606:4700:4700::1111]/",
    "https://[2a00:1450:4001:829::200e]:8443/",
    "https://[64:ff9b::808:808]/",  # NAT64 is how a host without IPv4 reaches 8.8.8.8
]

NOT_PUBLIC = [
    # Loopback, this network, private, carrier-grade NAT, link-local.
    "http://127.0.0.1/",
    "http://127.0.0.1:8402/",
    "http://127.255.255.254/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://100.127.255.255/",
    "http://169.254.0.1/",
    # Protocol assignments, documentation, benchmarks, 6to4 relays, multicast, reserved, broadcast.
    "http://192.0.0.1/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.10/",
    "http://192.88.99.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    # IPv6: unspecified, loopback, unique local, site-local, multicast, documentation, discard, unassigned.
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]:8402/",
    "http://[fc00::1]/",
    "http://[fdff::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[100::1]/",
    "http://[4000::1]/",
    # IPv4 inside IPv6: mapped, compatible, NAT64, local NAT64, 6to4, Teredo.
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::1]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    # Names.
    "http://localhost/",
    "http://LOCALHOST:8402/",
    "http://localhost./",
    "http://a.localhost/",
    "http://printer.local/",
    "http://db.internal/",
    "http://inside.example.com/",
    "http://half.example.com/",
    "http://six.example.com/",
    "http://127.0.0.1.example.com/",
    # A request body on these ports would be a mail or a chat.
    "http://1.1.1.1:25/",
    "https://api.example.com:6667/",
]

METADATA = [
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://[fd00:ec2::254]/",
    "http://[fd20:ce::254]/",
    "http://[fe80::a9fe:a9fe]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001:0:4136:e378:8000:63bf:5601:5601]/",
    "http://metadata.example.com/",
    "http://scoped.example.com/",
]

MALFORMED = [
    "",
    "api.example.com",
    "//api.example.com/",
    "/v1",
    "http:/1.1.1.1/",
    "http:1.1.1.1",
    "http://",
    "http:///v1",
    "http://?q",
    "http://:80/",
    # Other schemes.
    "file:///etc/passwd",
    "ftp://api.example.com/",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "unix:///var/run/docker.sock",
    "ws://api.example.com/",
    "data:text/plain,hi",
    "javascript:alert(1)",
    # Who is asked depends on who reads it.
    "http://user@1.1.1.1/",
    "http://user:pass@1.1.1.1/",
    "http://:pass@1.1.1.1/",
    "http://@1.1.1.1/",
    "http://1.1.1.1@127.0.0.1/",
    "http://1.1.1.1:80@127.0.0.1/",
    "http://1.1.1.1#@127.0.0.1/",
    "http://127.0.0.1\\@1.1.1.1/",
    "http://1.1.1.1\\.example.com/",
    "http://1.1.1.1/#fragment",
    "http://1.1.1.1/#",
    "http://1.1.1.1 /",
    " http://1.1.1.1/",
    "http://1.1.1.1/\r\nX-Admin: 1",
    "http://1.1.1.1/\x00",
    "http://１２７.０.０.１/",  # noqa: RUF001 - full-width digits are the point
    "http://127。0。0。1/",
    "http://bücher.example/",
    "http://127%2e0%2e0%2e1/",
    "http://%31%32%37.0.0.1/",
    "http://[fe80::1%25eth0]/",
    "http://[::1/",
    "http://::1/",
    "http://[v1.x]/",
    "http://1.1.1.1,127.0.0.1/",
    # What inet_aton takes for 127.0.0.1, and what looks like it.
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0X7F.0.0.1/",
    "http://127.0.0.0x1/",
    "http://127.0.0.1./",
    "http://127.000.000.001/",
    "http://256.256.256.256/",
    "http://1.1.1.1.1/",
    "http://0/",
    # Ports.
    "http://1.1.1.1:0/",
    "http://1.1.1.1:65536/",
    "http://1.1.1.1:+80/",
    "http://1.1.1.1:80:80/",
]

NOWHERE = ["http://unknown.example/", "http://empty.example.com/"]


@pytest.mark.parametrize("url", PUBLIC)
async def test_the_public_internet_may_be_called(url: str) -> None:
    await STRICT.check(url)
    await LENIENT.check(url)


@pytest.mark.parametrize("url", NOT_PUBLIC + METADATA + NOWHERE)
async def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(Blocked):
        await STRICT.check(url)


@pytest.mark.parametrize("url", MALFORMED)
async def test_what_can_be_read_in_two_ways_is_refused_wherever_it_leads(url: str) -> None:
    with pytest.raises(Blocked):
        await CREDULOUS.check(url)
    with pytest.raises(Blocked):
        await Guard(is_private_allowed=True, resolve=believe).check(url)


@pytest.mark.parametrize("url", METADATA + NOWHERE)
async def test_allowing_private_addresses_does_not_allow_metadata(url: str) -> None:
    with pytest.raises(Blocked):
        await LENIENT.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8402/",
        "http://[::1]/",
        "http://192.168.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://inside.example.com/",
        "http://1.1.1.1:25/",
    ],
)
async def test_private_addresses_are_for_who_allows_them(url: str) -> None:
    await LENIENT.check(url)


async def test_localhost_is_left_to_the_system_when_private_addresses_are_allowed() -> None:
    await Guard(is_private_allowed=True).check("http://localhost:8402/")


async def test_a_name_that_does_not_resolve_is_refused_in_those_words() -> None:
    with pytest.raises(Blocked, match=r"unknown\.example does not resolve"):
        await STRICT.check("https://unknown.example/")


@pytest.mark.parametrize("url", ["https://user:pass@1.1.1.1/", "https://@1.1.1.1/"])
async def test_a_user_name_is_refused_in_those_words(url: str) -> None:
    with pytest.raises(Blocked, match="must not carry a user name"):
        await STRICT.check(url)


async def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(host: str) -> Sequence[str]:
        await asyncio.sleep(60)
        return ["1.1.1.1"]

    monkeypatch.setattr(ssrf, "RESOLVE_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(Blocked, match="does not resolve"):
        await Guard(is_private_allowed=False, resolve=hang).check("https://slow.example/")


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
async def test_a_name_that_dns_cannot_carry_is_refused(host: str) -> None:
    with pytest.raises(Blocked):
        await Guard(is_private_allowed=False).check(f"http://{host}/")


class Rebinding(AbstractResolver):
    """The answer at connect time is not the answer that was checked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family_of(address), proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        pass


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@pytest.fixture
async def canary() -> AsyncIterator[TestServer]:
    """A server on loopback that counts everyone who so much as connects."""

    async def answer(request: web.Request) -> web.Response:
        request.app[HITS].append(request.path)
        return web.Response(text="secret")

    app = web.Application()
    app[HITS] = []
    app.router.add_route("*", "/{tail:.*}", answer)
    server = TestServer(app)
    async with server:
        yield server


HITS = web.AppKey("hits", list[str])


async def get(guard: Guard, url: str, resolver: AbstractResolver | None = None) -> int:
    async with (
        aiohttp.ClientSession(connector=fetch.connector(guard, resolver=resolver)) as session,
        session.get(url) as response,
    ):
        return response.status


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost"])
async def test_connecting_to_loopback_is_refused_for_literals_too(canary: TestServer, host: str) -> None:
    with pytest.raises(aiohttp.ClientConnectorError) as refused:
        await get(STRICT, f"http://{host}:{canary.port}/")
    assert refused.value.os_error.errno == errno.EACCES
    assert isinstance(refused.value.os_error, PermissionError)
    assert canary.app[HITS] == []


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("127.0.0.1", "127.0.0.2"), ("::ffff:127.0.0.1",)])
async def test_a_name_that_is_rebound_after_the_check_is_refused(
    canary: TestServer, addresses: tuple[str, ...]
) -> None:
    url = f"http://api.example.com:{canary.port}/"
    await STRICT.check(url)
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(STRICT, url, Rebinding(*addresses))
    assert canary.app[HITS] == []


async def test_the_canary_sings_when_it_is_reached(canary: TestServer) -> None:
    assert await get(LENIENT, f"http://127.0.0.1:{canary.port}/") == 200
    assert await get(LENIENT, f"http://api.example.com:{canary.port}/", Rebinding("127.0.0.1")) == 200
    assert len(canary.app[HITS]) == 2


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET, ("not an address", 80)),
        (socket.AF_INET6, ("fe80::1%1", 80, 0, 1)),
        (socket.AF_INET6, ("::1", 80, 0, 0)),
        (socket.AF_UNIX, ("/run/docker.sock",)),
        (socket.AF_UNIX, ("1.1.1.1",)),
    ],
)
def test_no_socket_is_made_for_what_is_not_public(family: int, address: tuple[Any, ...]) -> None:
    with pytest.raises(PermissionError):
        STRICT.socket_factory((family, socket.SOCK_STREAM, 0, "", address))


def test_a_socket_is_made_for_what_is_public() -> None:
    with STRICT.socket_factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("1.1.1.1", 443))) as made:
        assert made.family == socket.AF_INET
