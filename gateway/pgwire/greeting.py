"""The first bytes of a connection: whether it is encrypted, and whom it names by that.

They are read from the socket itself, exactly as many as make the request: what somebody sends before the
handshake is still in the kernel, and can be neither taken for what was sent under encryption
(CVE-2021-23214) nor lost when a client starts with the handshake at once.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from functools import partial

from gateway.pgwire.messages import GSS_REQUEST, SSL_REQUEST, U32, Gone, violation
from gateway.pgwire.tls import ALPN, Certificate, name_asked_for
from gateway.pgwire.wire import Wire

HANDSHAKE = 0x16
REQUEST_BYTES = 8
# Somebody may ask for both kinds of encryption, one after the other, and for neither twice.
REQUESTS_MAX = 2


@dataclass(frozen=True, slots=True)
class Greeted:
    wire: Wire
    tls: str | None
    """Which version of it, for those who have it."""
    name: str | None
    """The host that the client asked for in its handshake."""


async def greet(near: socket.socket, certificate: Certificate | None) -> Greeted:
    loop = asyncio.get_running_loop()
    for _ in range(REQUESTS_MAX + 1):
        await until_readable(near)
        first = near.recv(1, socket.MSG_PEEK)
        if first and first[0] == HANDSHAKE and certificate is not None:
            return await encrypt(near, certificate, is_direct=True)
        begun = await exactly(near, REQUEST_BYTES)
        code = U32.unpack_from(begun, 4)[0]
        if code not in (SSL_REQUEST, GSS_REQUEST) or U32.unpack_from(begun)[0] != REQUEST_BYTES:
            wire = Wire(begun)
            await loop.connect_accepted_socket(partial(itself, wire), near)
            return Greeted(wire, None, None)
        if code == SSL_REQUEST and certificate is not None:
            if waits(near):
                raise violation("received unencrypted data after the request to encrypt")
            await loop.sock_sendall(near, b"S")
            return await encrypt(near, certificate, is_direct=False)
        await loop.sock_sendall(near, b"N")
    raise violation("too many requests to encrypt")


async def encrypt(near: socket.socket, certificate: Certificate, *, is_direct: bool) -> Greeted:
    loop, wire = asyncio.get_running_loop(), Wire()
    make = partial(itself, wire)
    try:
        transport, _ = await loop.connect_accepted_socket(make, near, ssl=certificate.context)
    except (OSError, ssl.SSLError):
        # Whatever it was, it did not become a connection that somebody could be told something on.
        raise Gone from None
    encrypted = transport.get_extra_info("ssl_object")
    if is_direct and encrypted.selected_alpn_protocol() != ALPN:
        raise refused(wire)
    return Greeted(wire, encrypted.version(), name_asked_for(encrypted))


def itself(wire: Wire) -> Wire:
    """For loops that want to make it; what they return may be a protocol of their own in front of it."""
    return wire


def refused(wire: Wire) -> Gone:
    # As PostgreSQL does: without it, a request of another protocol could be made to look like one of this.
    wire.transport.abort()
    return Gone()


def waits(near: socket.socket) -> bool:
    try:
        return bool(near.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def exactly(near: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    taken = b""
    while len(taken) < count:
        more = await loop.sock_recv(near, count - len(taken))
        if not more:
            raise Gone
        taken += more
    return taken


async def until_readable(near: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = loop.create_future()

    def tell() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(near, tell)
    try:
        await readable
    finally:
        loop.remove_reader(near)
