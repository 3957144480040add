"""One client's connection on one screen: greeted, named, proven, woken for, served."""

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import structlog

from config.pgproxy import PgProxy
from gateway.pgwire import messages, metrics, proving, startup
from gateway.pgwire.canceling import Cancel as Cancelling
from gateway.pgwire.canceling import Cancels
from gateway.pgwire.computes import Computes, Endpoint
from gateway.pgwire.greeting import Greeted, greet
from gateway.pgwire.messages import Fatal, Gone
from gateway.pgwire.places import Places
from gateway.pgwire.pooled import PooledClient
from gateway.pgwire.pools import APPLICATION_NAME, Pools
from gateway.pgwire.relay import Relay
from gateway.pgwire.scram import Keys
from gateway.pgwire.startup import Cancel, Startup
from gateway.pgwire.tls import Certificate
from gateway.pgwire.waking import Waker
from gateway.pgwire.wire import Wire, part

log = structlog.get_logger(__name__)

FAREWELL_SECONDS = 1.0
PIECE_BYTES = 1 << 16


@dataclass(slots=True)
class House:
    """What all connections of a process share."""

    settings: PgProxy
    computes: Computes
    certificate: Certificate | None
    mock_secret: bytes
    """What the salts of those who do not exist are made of: the same for all processes."""
    waker: Waker
    pools: Pools
    cancels: Cancels
    places: Places
    serving: "set[Serving]" = field(default_factory=set)


@dataclass(slots=True)
class Visit:
    """What the line in the log says of a connection; never a password, a query or a key."""

    address: IPv4Address | IPv6Address
    tls: str | None = None
    endpoint: str | None = None
    role: str | None = None
    database: str | None = None
    mode: str | None = None
    told: str = ""
    """The SQLSTATE that ended it, where one did."""
    moved: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Guest:
    """A client that has proven who it is and has not been told so yet."""

    wire: Wire
    asked: Startup
    keys: Keys
    proven: bytes


@dataclass(eq=False, slots=True)
class Serving:
    """A client that is being served, until it leaves or is sent away."""

    endpoint: Endpoint
    session: Relay | PooledClient
    counted: tuple[int, int] = (0, 0)


async def attend(house: House, near: socket.socket, address: IPv4Address | IPv6Address) -> None:
    """From a connection's first byte to its last."""
    visit = Visit(address)
    since = asyncio.get_running_loop().time()
    wire: Wire | None = None
    try:
        async with asyncio.timeout(house.settings.handshake_seconds_max) as deadline:
            greeted = await greet(near, house.certificate)
            wire = greeted.wire
            await serve(house, greeted, visit, deadline)
    except Fatal as error:
        visit.told = error.sqlstate
        await tell(near, wire, error)
    except TimeoutError:
        # Most likely somebody who means something else by this port: nobody waits to be told.
        visit.told = "gone" if wire is not None and wire.is_lost else "timeout"
    except (Gone, OSError):
        visit.told = "gone"
    finally:
        if wire is None:
            near.close()
        else:
            part(wire.transport)
        report(visit, asyncio.get_running_loop().time() - since)


async def serve(house: House, greeted: Greeted, visit: Visit, deadline: asyncio.Timeout) -> None:
    wire, visit.tls = greeted.wire, greeted.tls
    asked = await startup.read(wire, greeted.name)
    if isinstance(asked, Cancel):
        visit.mode = "cancel"
        await house.cancels.cancel(asked.pid, asked.secret)
        return
    visit.endpoint, visit.role, visit.database = asked.label, asked.role, asked.database
    visit.mode = "pooled" if asked.is_pooled else "direct"
    refuse_plain(house, greeted, visit)
    endpoint = await house.computes.find(asked.label)
    if endpoint is not None:
        proving.refuse_address(endpoint, visit.address)
    certificate = house.certificate if greeted.tls else None
    if asked.negotiation:
        wire.write(asked.negotiation)
    keys, proven = await proving.prove(
        house.computes, wire, asked, endpoint, house.mock_secret,
        None if certificate is None else certificate.end_point,
    )  # fmt: skip
    assert endpoint is not None, "nobody proves to be at an endpoint that is not there"
    if endpoint.is_disabled:
        raise Fatal(
            "57P03", "the endpoint is stopped", "Start it by the API or in the console, and try again."
        )
    # From here on it waits for us and not we for it; who hangs up meanwhile is waited for by nobody.
    deadline.reschedule(None)
    wire.on_lost = lambda: deadline.reschedule(0)
    try:
        with house.places.at(endpoint.id):
            serve_one = serve_pooled if asked.is_pooled else serve_directly
            await serve_one(house, visit, endpoint, Guest(wire, asked, keys, proven))
    finally:
        wire.on_lost = lambda: None


def refuse_plain(house: House, greeted: Greeted, visit: Visit) -> None:
    plain = house.settings.plain
    if greeted.tls is None and (plain == "never" or (plain == "loopback" and not visit.address.is_loopback)):
        raise Fatal("28000", "connections must be encrypted", "Connect with sslmode=require or better.")


async def serve_directly(house: House, visit: Visit, endpoint: Endpoint, guest: Guest) -> None:
    async with house.waker.session(endpoint, guest.asked.parameters, guest.keys) as session:
        with welcomed(house, guest, session.parameters, session.cancel, session.notices):
            await served(house, visit, Serving(endpoint, Relay(guest.wire, session.wire)))


async def serve_pooled(house: House, visit: Visit, endpoint: Endpoint, guest: Guest) -> None:
    asked = guest.asked
    if not endpoint.is_pooler_enabled:
        raise Fatal("57P03", "the pooler of this endpoint is turned off", "Leave -pooler out of its name.")
    if b"replication" in asked.parameters:
        raise Fatal("0A000", "the pooler offers no replication", "Leave -pooler out of the endpoint's name.")
    pool = house.pools.find(endpoint, asked.parameters, guest.keys)
    own = dict(await pool.opened())
    if APPLICATION_NAME in asked.parameters:
        own[APPLICATION_NAME] = asked.parameters[APPLICATION_NAME]
    client = PooledClient(guest.wire, pool, own)
    pool.clients.add(client)
    try:
        with welcomed(house, guest, own, partial(pool.cancel, client)):
            await served(house, visit, Serving(endpoint, client))
    finally:
        pool.left(client)


@contextmanager
def welcomed(
    house: House,
    guest: Guest,
    parameters: Mapping[bytes, bytes],
    cancel: Cancelling,
    notices: Sequence[bytes] = (),
) -> Iterator[None]:
    """Tell it that it is logged in, with a key to cancel by that is good until it leaves."""
    secret = house.cancels.issue(cancel, is_long=guest.asked.has_long_key)
    try:
        said = [messages.parameter(name, value) for name, value in parameters.items()]
        guest.wire.write(b"".join((
            guest.proven, messages.authentication(messages.OK), *notices, *said,
            messages.key_data(house.cancels.pid, secret), messages.ready(),
        )))  # fmt: skip
        yield
    finally:
        house.cancels.withdraw(secret)


async def served(house: House, visit: Visit, serving: Serving) -> None:
    house.serving.add(serving)
    metrics.CONNECTIONS.labels(visit.mode).inc()
    try:
        await serving.session.run()
    finally:
        metrics.CONNECTIONS.labels(visit.mode).dec()
        house.serving.discard(serving)
        visit.moved, visit.told = serving.session.moved, serving.session.told
        count(house.computes, serving)


def count(computes: Computes, serving: Serving) -> None:
    """Tell what moved since the last time."""
    before, now = serving.counted, serving.session.moved
    received, sent = now[0] - before[0], now[1] - before[1]
    if received or sent:
        serving.counted = now
        metrics.BYTES.labels("received").inc(received)
        metrics.BYTES.labels("sent").inc(sent)
        computes.traffic(serving.endpoint, received, sent)


async def tell(near: socket.socket, wire: Wire | None, error: Fatal) -> None:
    """Why it ends, and time to read that: what is closed with something unread in it is reset."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(FAREWELL_SECONDS):
            if wire is not None:
                await wire.say_goodbye(error.written())
                return
            # Before the greeting is over there is nothing but the socket.
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(near, error.written())
            near.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(near, PIECE_BYTES):
                pass


def report(visit: Visit, seconds: float) -> None:
    metrics.ENDED.labels(visit.told or "00000").inc()
    log.info(
        "pgproxy.connection",
        address=str(visit.address), tls=visit.tls, endpoint=visit.endpoint, role=visit.role,
        database=visit.database, mode=visit.mode, told=visit.told or None, seconds=round(seconds, 3),
        received=visit.moved[0], sent=visit.moved[1],
    )  # fmt: skip
