"""How many connections there may be: in all, from one address, and at one endpoint."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

from config.pgproxy import PgProxy
from gateway.kit.addresses import unit
from gateway.pgwire.messages import Fatal

T = TypeVar("T")


def full(message: str) -> Fatal:
    return Fatal("53300", message, "Close some, or connect to the pooler: LABEL-pooler.")


class Places:
    def __init__(self, settings: PgProxy) -> None:
        self.settings = settings
        self.taken = 0
        self.by_address: Counter[str] = Counter()
        self.by_endpoint: Counter[UUID] = Counter()

    @contextmanager
    def of(self, address: str) -> Iterator[None]:
        """Raises ``Fatal`` before anything was done for it."""
        whose = unit(address)
        if self.taken >= self.settings.connections_max:
            raise full("too many connections")
        if self.by_address[whose] >= self.settings.connections_per_address_max:
            raise full("too many connections from your address")
        self.taken += 1
        with counted(self.by_address, whose):
            try:
                yield
            finally:
                self.taken -= 1

    @contextmanager
    def at(self, endpoint: UUID) -> Iterator[None]:
        if self.by_endpoint[endpoint] >= self.settings.connections_per_endpoint_max:
            raise full("too many connections to this endpoint")
        with counted(self.by_endpoint, endpoint):
            yield


@contextmanager
def counted(counts: Counter[T], key: T) -> Iterator[None]:
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]
