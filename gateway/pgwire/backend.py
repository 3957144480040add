"""A session at an endpoint's own server: opened, and logged in with what the client's proof left."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.pgwire import canceling, messages, scram
from gateway.pgwire.computes import Address
from gateway.pgwire.messages import Fatal, Gone, violation
from gateway.pgwire.scram import Keys, Login
from gateway.pgwire.wire import Wire

# It is on this machine and runs: whoever takes longer is stopped.
LOGIN_SECONDS_MAX = 15.0
# Starting, stopping, or told to end: it is woken again, and the client waits.
CHANGING = ("57P01", "57P02", "57P03")
MESSAGE_BYTES_MAX = 1 << 20


class NotThere(Exception):
    """The server that was at the address stops, starts or is gone."""


@dataclass(slots=True)
class Session:
    wire: Wire
    socket: Path
    parameters: dict[bytes, bytes] = field(default_factory=dict)
    notices: list[bytes] = field(default_factory=list)
    """What the server said before it was ready, as messages."""
    pid: int = 0
    secret: bytes = b""

    async def cancel(self) -> None:
        """What it is doing, if it is doing anything."""
        await canceling.deliver(self.socket, self.pid, self.secret)


class Told(Fatal):
    """The server's own refusal, passed on as it came."""

    def __init__(self, body: bytes) -> None:
        super().__init__(messages.sqlstate(body), "the database refused")
        self.body = body

    def written(self) -> bytes:
        return messages.message(messages.ERROR, self.body)


async def log_in(address: Address, parameters: Mapping[bytes, bytes], keys: Keys) -> Session:
    try:
        async with asyncio.timeout(LOGIN_SECONDS_MAX):
            return await opened(address, with_own(parameters, address.parameters), keys)
    except (OSError, Gone):
        raise NotThere from None


async def opened(address: Address, parameters: Mapping[bytes, bytes], keys: Keys) -> Session:
    _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, str(address.socket))
    try:
        wire.write(messages.startup(parameters))
        await authenticate(wire, keys)
        return await until_ready(Session(wire, address.socket))
    except BaseException:
        wire.transport.abort()
        raise


def with_own(parameters: Mapping[bytes, bytes], own: Mapping[str, str]) -> Mapping[bytes, bytes]:
    """What the endpoint sets, which clients must not: a read-only one is read-only."""
    fixed = {name.encode(): value.encode() for name, value in own.items()}
    for name, value in fixed.items():
        is_in_options = name.lower() in parameters.get(b"options", b"").lower().replace(b"-", b"_")
        if is_in_options or parameters.get(name, value) != value:
            raise Fatal("22023", f"this endpoint has its own {name.decode()}, which clients cannot choose")
    return {**parameters, **fixed}


async def authenticate(wire: Wire, keys: Keys) -> None:
    login = Login(keys)
    is_genuine = False
    while True:
        body = await said(wire, messages.AUTHENTICATION)
        kind, rest = messages.U32.unpack_from(body)[0], body[4:]
        if kind == messages.OK and is_genuine:
            return
        if kind == messages.SASL:
            first = login.first().encode()
            answer = scram.PLAIN.encode() + b"\0" + messages.U32.pack(len(first)) + first
        elif kind == messages.SASL_CONTINUE:
            answer = login.final(rest.decode()).encode()
        elif kind == messages.SASL_FINAL and login.is_genuine(rest.decode()):
            is_genuine = True
            continue
        else:
            raise violation("the database spoke another authentication than SCRAM-SHA-256")
        wire.write(messages.message(messages.PASSWORD, answer))


async def until_ready(session: Session) -> Session:
    while True:
        kind, body = await session.wire.message(MESSAGE_BYTES_MAX)
        if kind == messages.READY:
            return session
        if kind == messages.PARAMETER:
            name, value = messages.pair(body)
            session.parameters[name] = value
        elif kind == messages.KEY_DATA:
            session.pid, session.secret = messages.U32.unpack_from(body)[0], body[4:]
        elif kind == messages.NOTICE:
            session.notices.append(messages.message(kind, body))
        else:
            refuse(kind, body)


async def said(wire: Wire, expected: bytes) -> bytes:
    kind, body = await wire.message(MESSAGE_BYTES_MAX)
    if kind != expected:
        refuse(kind, body)
    return body


def refuse(kind: bytes, body: bytes) -> None:
    if kind == messages.ERROR:
        if messages.sqlstate(body) in CHANGING:
            raise NotThere
        raise Told(body)
    raise violation("the database said something else than expected")
