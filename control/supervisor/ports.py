"""One port for several processes: each binds it for itself, and the kernel spreads the connections."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager


class PortTaken(Exception):
    """Why an address cannot be listened on, as a sentence for the operator."""


@contextmanager
def held(host: str, port: int) -> Iterator[int]:
    """Keep the port, or a free one for 0, for the processes that ``join`` it; yields its number.

    The socket here is bound and never listens, so no connection comes to it. As it does not set SO_REUSEADDR,
    another farebox finds the port taken even before anybody listens.
    """
    if port:
        # Sharing a port with a stranger of the same user would succeed, and lose every second call.
        listen_alone(host, port).close()
    with hold(host, port) as holding:
        yield holding.getsockname()[1]


def hold(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port, socket.SO_REUSEPORT)
    except PortTaken:
        # Nobody listens, as was just seen: what is left are the closed connections of another program.
        return bind(host, port, socket.SO_REUSEPORT, socket.SO_REUSEADDR)


def join(host: str, port: int) -> socket.socket:
    """A socket of this process's own on a held port, bound and not yet listening."""
    bound = hold(host, port)
    # Set now, it does not let a stranger in beside us, and connections inherit it: those of a killed farebox
    # linger in the kernel for a minute, and would keep the port from the next one.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return bound


class Door:
    """One worker's socket on a held port, kept here for as long as its worker lives or has a successor.

    Connections that the kernel has taken for it and nobody has accepted yet would be lost with the socket. So
    a worker that ends well leaves it, with all that waits there, to the next one.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.socket: socket.socket | None = None

    def open(self) -> int:
        """The descriptor for a child to inherit, bound and not yet listening the first time."""
        if self.socket is None:
            self.socket = join(self.host, self.port)
        return self.socket.fileno()

    def close(self) -> None:
        """For a worker that crashed: callers are better off with the other ones than waiting for it."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def inherit(descriptor: int) -> socket.socket:
    """The socket that whoever started this process made for it."""
    return socket.socket(fileno=descriptor)


def listen_alone(host: str, port: int) -> socket.socket:
    """A socket on a port that nobody else has."""
    bound = bind(host, port, socket.SO_REUSEADDR)
    try:
        # Until somebody listens, the kernel lets others bind the same port in this way.
        bound.listen()
    except OSError as error:
        bound.close()
        raise refusal(host, port, error) from None
    return bound


def bind(host: str, port: int, *options: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise PortTaken(f"The address {host} is unknown: {error.strerror}.") from None
    bound = socket.socket(family, kind, protocol)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise refusal(host, port, error) from None
    return bound


def refusal(host: str, port: int, error: OSError) -> PortTaken:
    reason = os.strerror(error.errno) if error.errno is not None else str(error)
    return PortTaken(
        f"Port {port} on {host} cannot be used ({reason}). Choose another one with FAREBOX_LISTEN__PORT, "
        "for metrics FAREBOX_METRICS__PORT, or for databases FAREBOX_PGPROXY__PORT; 0 takes a free one."
    )


def origin(host: str, port: int) -> str:
    """The URL of a server, as seen from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - told apart, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
