"""What the proxy asks of those who keep projects' databases. The composition root answers it from rows."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Protocol
from uuid import UUID

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Endpoint:
    """As its rows have it, a second ago at most."""

    id: UUID
    label: str
    branch_id: UUID
    timeline_id: UUID
    is_disabled: bool = False
    is_pooler_enabled: bool = True
    pooler_mode: Literal["transaction", "session"] = "transaction"
    allowed: tuple[Network, ...] = ()
    """Who may connect; nobody named is everybody."""
    is_public_blocked: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where a woken endpoint is."""

    socket: Path
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What every session starts with, whatever its client says."""


class NotStarted(Exception):
    """It cannot be woken now; the text is for the client, who may try again."""

    def __init__(self, text: str, sqlstate: str = "57P03") -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class NotAllowed(NotStarted):
    """Nothing is wrong with it: whose it is has no room for it."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "53400")


class Computes(Protocol):
    async def find(self, label: str) -> Endpoint | None:
        """Asked for each connection, by whatever label a stranger makes up."""
        ...

    async def verifier(self, endpoint: Endpoint, role: str) -> str | None:
        """``SCRAM-SHA-256$…`` of a role that may log in with a password."""
        ...

    def refused(self, endpoint: Endpoint, role: str) -> None:
        """The verifier did not fit: it may be an old one, or somebody guesses."""
        ...

    async def wake(self, endpoint: Endpoint) -> Address:
        """Returns when it accepts connections. Raises ``NotStarted``."""
        ...

    def session(self, endpoint: Endpoint) -> AbstractAsyncContextManager[None]:
        """While it is entered somebody is connected. Raises ``NotStarted`` when the endpoint is asleep."""
        ...

    def traffic(self, endpoint: Endpoint, received: int, sent: int) -> None:
        """So many bytes went to its server and came from it since the last time."""
        ...
