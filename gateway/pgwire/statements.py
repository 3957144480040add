"""Prepared statements of clients that are not always at the same server.

A server knows a statement by a name that is made of its text, so that clients who prepare the same share it,
and no two texts have one name. What a client calls it is the client's affair.
"""

from dataclasses import dataclass, field
from hashlib import blake2b

from gateway.pgwire.messages import Fatal, message, violation

PREFIX = b"farebox_"
NAME_BYTES = 12
# Of one client, which could otherwise have us remember anything.
COUNT_MAX = 5_000
BYTES_MAX = 16 << 20
# Of all clients of an endpoint together: there may be a thousand, and the process is everybody's.
ENDPOINT_BYTES_MAX = 128 << 20
# Of one server, which keeps a plan for each.
PER_SERVER_MAX = 500


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    name: bytes
    body: bytes
    """What follows the name in a Parse: the query and the types of its parameters."""

    @property
    def parse(self) -> bytes:
        return message(b"P", self.name + b"\0" + self.body)


def named(body: bytes) -> Statement:
    digest = blake2b(body, digest_size=NAME_BYTES).hexdigest()
    return Statement(PREFIX + digest.encode(), body)


def unnamed(body: bytes) -> Statement:
    """Without a body it is too long to be kept: whoever has it has it where it was sent, and nowhere else."""
    return Statement(b"", body)


@dataclass(slots=True, weakref_slot=True)
class Shelf:
    """How many bytes are kept for all clients of an endpoint."""

    size: int = 0


@dataclass(slots=True)
class Prepared:
    """A client's own, by its own names; the unnamed one is among them."""

    shelf: Shelf
    by_name: dict[bytes, Statement] = field(default_factory=dict)
    size: int = 0
    awaited: int = 0
    """Of one that is still arriving."""

    def wait_for(self, size: int) -> None:
        self.make_room(size, self.awaited)
        self.shelf.size += size - self.awaited
        self.awaited = size

    def keep(self, name: bytes, statement: Statement) -> None:
        self.arrived()
        self.forget(name)
        self.make_room(len(statement.body))
        if len(self.by_name) >= COUNT_MAX:
            raise too_many()
        self.by_name[name] = statement
        self.add(len(statement.body))

    def make_room(self, size: int, counted: int = 0) -> None:
        if self.size + size > BYTES_MAX or self.shelf.size + size - counted > ENDPOINT_BYTES_MAX:
            raise too_many()

    def forget(self, name: bytes) -> None:
        before = self.by_name.pop(name, None)
        if before is not None:
            self.add(-len(before.body))

    def fail(self, name: bytes, statement: Statement) -> None:
        """It was not made; whatever has the name since then stays."""
        if self.by_name.get(name) is statement:
            self.forget(name)

    def clear(self) -> None:
        self.arrived()
        self.by_name.clear()
        self.add(-self.size)

    def arrived(self) -> None:
        self.shelf.size -= self.awaited
        self.awaited = 0

    def add(self, size: int) -> None:
        self.size += size
        self.shelf.size += size


def too_many() -> Fatal:
    return Fatal("54000", "too many prepared statements for a pooled connection", "Deallocate some.")


def split(body: bytes, start: int = 0) -> tuple[bytes, int]:
    """A text that ends in a zero, and where the rest begins."""
    end = body.find(b"\0", start)
    if end < 0:
        raise violation("a name in a message has no end")
    return body[start:end], end + 1
