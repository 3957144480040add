"""The part of PostgreSQL's protocol that one statement needs, with a limit on the size of every message.

A driver reads a message whole before anybody can refuse it, and a value of a gigabyte stops its process while
it does so. Here the length is looked at first. All values travel as text; the connection is closed after one
statement, so nothing of a caller's session is there for the next one.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import cast
from unicodedata import normalize

from gateway.kit.dsn import Dsn, Tls
from gateway.upstreams.dial import Dialler

PROTOCOL = 3 << 16
TLS_CODE = 80877103
CANCEL_CODE = 80877102
# Of anything but a row: errors, notices, the description of 1664 columns.
MESSAGE_BYTES_MAX = 1 << 18
# The server chooses how much work a password is.
ITERATIONS_MAX = 100_000
CANCEL_SECONDS = 5
# Of a server of ours, which takes a connection at once unless its queue is full.
SOCKET_SECONDS = 5


class Broken(Exception):
    """The server says what it may not say, or stopped."""


class TooLarge(Exception):
    """A message is larger than it may be. None of it was read."""


class ServerError(Exception):
    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields.get("C", "XX000"))
        self.fields = fields

    @property
    def state(self) -> str:
        return self.fields.get("C", "XX000")


class Line(asyncio.StreamReaderProtocol):
    """Bytes in through ``reader``, out through ``transport``."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # uvloop's transports are none by inheritance.
        self.transport = cast(asyncio.Transport, transport)


NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


class Wire:
    def __init__(
        self, dialler: Dialler | None, dsn: Dsn, parameters: Mapping[str, str] = NO_PARAMETERS
    ) -> None:
        """``parameters`` are the session's settings, which what is set for the role does not override.

        Nobody is needed to dial where ``dsn`` names a socket.
        """
        self.dialler, self.dsn, self.parameters = dialler, dsn, parameters
        self.line = Line()
        self.cancel_key = b""

    async def open(self) -> None:
        """OSError, TimeoutError, ``Broken`` or ``ServerError`` when there is no session."""
        await self.dial()
        dsn = self.dsn
        said = {"user": dsn.user, "database": dsn.database, "client_encoding": "UTF8", **self.parameters}
        options = b"".join(text(part) for pair in said.items() for part in pair) + b"\x00"
        self.write(struct.pack(">ii", len(options) + 8, PROTOCOL) + options)
        await self.authenticate()
        while True:
            kind, data = await self.receive()
            if kind == b"K":
                self.cancel_key = data
            if kind == b"Z":
                return

    async def dial(self) -> None:
        dsn = self.dsn
        if dsn.socket is not None:
            async with asyncio.timeout(SOCKET_SECONDS):
                _, self.line = await asyncio.get_running_loop().create_unix_connection(Line, dsn.socket)
            return
        assert self.dialler is not None, "for a host"
        self.line = await self.dialler.dial(Line, dsn.host, dsn.port, is_tls=False)
        if dsn.tls == "disable":
            return
        self.write(struct.pack(">ii", 8, TLS_CODE))
        if await self.line.reader.readexactly(1) != b"S":
            raise Broken("the server has no TLS")
        plain, over_tls = self.line.transport, Line()
        assert plain is not None, "it is connected"
        # What came in the clear behind the answer stays in the old reader and is never looked at.
        transport = await asyncio.get_running_loop().start_tls(
            plain, over_tls, context_of(dsn.tls, dsn.roots), server_hostname=dsn.host.rstrip(".")
        )
        if transport is None:
            raise Broken("the connection ended")
        over_tls.connection_made(transport)
        self.line = over_tls

    def write(self, data: bytes) -> None:
        assert self.line.transport is not None, "it is connected"
        self.line.transport.write(data)

    async def next(self, bytes_max: int = MESSAGE_BYTES_MAX) -> tuple[bytes, bytes]:
        reader = self.line.reader
        try:
            head = await reader.readexactly(5)
            size = int.from_bytes(head[1:], "big") - 4
            if size < 0 or size > (bytes_max if head[:1] == b"D" else MESSAGE_BYTES_MAX):
                raise TooLarge
            return head[:1], await reader.readexactly(size)
        except asyncio.IncompleteReadError:
            raise Broken("the connection ended") from None

    async def receive(self, bytes_max: int = MESSAGE_BYTES_MAX) -> tuple[bytes, bytes]:
        """The next message that says something about what was asked."""
        while True:
            kind, data = await self.next(bytes_max)
            if kind == b"E":
                raise ServerError(fields_of(data))
            if kind not in (b"N", b"S", b"A"):
                return kind, data

    async def expect(self, kind: bytes) -> bytes:
        got, data = await self.receive()
        if got != kind:
            raise Broken("an answer out of order")
        return data

    async def authenticate(self) -> None:
        while True:
            data = await self.expect(b"R")
            (method,) = struct.unpack_from(">i", data)
            if method == 0:
                return
            if method == 3 and self.dsn.tls != "disable":
                self.write(message(b"p", text(self.dsn.password)))
            elif method == 10 and b"SCRAM-SHA-256" in data[4:].split(b"\x00"):
                await self.scram()
            else:
                raise Broken("the server asks for a password in a way that is not safe here")

    async def scram(self) -> None:
        """RFC 5802 without channel binding. The server proves that it knows the password, too."""
        nonce = secrets.token_urlsafe(24)
        first = f"n=,r={nonce}"
        start = f"n,,{first}".encode()
        self.write(message(b"p", text("SCRAM-SHA-256") + struct.pack(">i", len(start)) + start))
        challenge = await self.sasl(11)
        said = attributes(challenge)
        salt, rounds = base64.b64decode(said["s"]), int(said["i"])
        if not said["r"].startswith(nonce) or not 0 < rounds <= ITERATIONS_MAX:
            raise Broken("an improper challenge")
        password = normalize("NFKC", self.dsn.password).encode()
        salted = await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", password, salt, rounds)
        last = f"c=biws,r={said['r']}"
        exchanged = f"{first},{challenge},{last}".encode()
        key = digest(salted, b"Client Key")
        signature = digest(hashlib.sha256(key).digest(), exchanged)
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        self.write(message(b"p", f"{last},p={proof}".encode()))
        theirs = base64.b64decode(attributes(await self.sasl(12)).get("v", ""))
        if not hmac.compare_digest(theirs, digest(digest(salted, b"Server Key"), exchanged)):
            raise Broken("the server does not know the password")

    async def sasl(self, step: int) -> str:
        data = await self.expect(b"R")
        if struct.unpack_from(">i", data) != (step,):
            raise Broken("an answer out of order")
        return data[4:].decode()

    async def cancel(self) -> None:
        """Ask the server to stop. It works on until it wants to send something otherwise."""
        other = Wire(self.dialler, self.dsn)
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await other.dial()
                other.write(struct.pack(">ii", len(self.cancel_key) + 8, CANCEL_CODE) + self.cancel_key)
                await other.line.reader.read(1)
        except (OSError, TimeoutError, Broken, asyncio.IncompleteReadError):
            return
        finally:
            other.close()

    def close(self) -> None:
        if self.line.transport is not None:
            self.line.transport.abort()

    def end(self) -> None:
        """Leave properly. What the session did in its transaction is undone."""
        transport = self.line.transport
        # uvloop refuses to write where a handshake failed or the server hung up.
        if transport is not None and not transport.is_closing():
            transport.write(message(b"X"))
            transport.close()


# Reading the public authorities takes longer than all else before a statement.
@lru_cache(maxsize=256)
def context_of(tls: Tls, roots: str | None) -> ssl.SSLContext:
    """A publisher's own roots stand in the place of the public ones: nobody else vouches for its server."""
    context = ssl.create_default_context(cadata=roots)
    if tls == "require":
        # As in libpq: against listeners, not against somebody in between.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def digest(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def attributes(said: str) -> dict[str, str]:
    return {part[:1]: part[2:] for part in said.split(",")}


def text(value: str) -> bytes:
    return value.encode() + b"\x00"


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


def fields_of(data: bytes) -> dict[str, str]:
    parts = (part.decode(errors="replace") for part in data.split(b"\x00"))
    return {part[0]: part[1:] for part in parts if part}


def asked(statement: str) -> bytes:
    """Parse and describe: how many parameters, of which types, and which columns."""
    return message(b"P", b"\x00" + text(statement) + b"\x00\x00") + message(b"D", b"S\x00") + message(b"H")


def bound(values: Sequence[bytes | None], rows_max: int) -> bytes:
    """Bind, execute up to so many rows, and say at once what there is."""
    parts = [b"\xff\xff\xff\xff" if one is None else struct.pack(">i", len(one)) + one for one in values]
    body = b"\x00\x00" + b"\x00\x00" + struct.pack(">h", len(values)) + b"".join(parts) + b"\x00\x00"
    return message(b"B", body) + message(b"E", b"\x00" + struct.pack(">i", rows_max)) + message(b"H")


def types_of(data: bytes) -> list[int]:
    """Of parameters, by their numbers in ``pg_type``."""
    (count,) = struct.unpack_from(">H", data)
    return list(struct.unpack_from(f">{count}I", data, 2))


def columns_of(data: bytes) -> list[tuple[str, int]]:
    """Names and types of a row description."""
    (count,) = struct.unpack_from(">H", data)
    found, at = [], 2
    for _ in range(count):
        end = data.index(b"\x00", at)
        found.append((data[at:end].decode(errors="replace"), struct.unpack_from(">I", data, end + 7)[0]))
        at = end + 19
    return found


def values_of(data: bytes) -> list[str | None]:
    (count,) = struct.unpack_from(">H", data)
    found: list[str | None] = []
    at = 2
    for _ in range(count):
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        if size < 0:
            found.append(None)
        else:
            found.append(data[at : at + size].decode(errors="replace"))
            at += size
    return found
