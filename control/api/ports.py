"""What operations are given: what rooms reach besides the database, and where a request came from."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from config.settings import Settings
from control.api.credentials import Asking
from control.computes.nowhere import NoProvider
from control.computes.provider import ComputeProvider
from control.identity.sessions import Lifetimes
from control.processors.port import Processors
from gateway.auth_mode import AuthMode
from gateway.buckets import Buckets
from gateway.key_uses import KeyUses
from gateway.kit.crypto import Keyring
from gateway.kit.ssrf import Guard


@dataclass(frozen=True, slots=True)
class Ports:
    """What rooms reach besides the database, chosen by whoever composes the application."""

    guard: Guard
    keyring: Keyring
    modes: Mapping[str, AuthMode[Any]]
    settings: Settings = field(repr=False)
    cashier: Any = None
    """Takes on-chain deposits; None where no network is configured."""
    facilitator: Any = None
    """Verifies and settles payments for others."""
    listening_at: str | None = None
    """The origin that this process listens on, where the settings leave the port to the system."""
    buckets: Buckets | None = None
    """What addresses are limited by; None limits nobody."""
    uses: KeyUses = field(default_factory=KeyUses)
    """Which keys were used."""
    processors: Processors = field(default_factory=Processors)
    """Who takes cards for us."""
    queries: Any = None
    """Asks publishers' databases; None where nobody may be asked."""
    computes: ComputeProvider = field(default_factory=NoProvider)
    """Who runs projects' databases."""

    @property
    def origin(self) -> str:
        """Where clients reach this installation, for links."""
        listen = self.settings.listen
        return self.settings.public_url or self.listening_at or f"http://{listen.host}:{listen.port}"

    @property
    def mode(self) -> typing.Literal["live", "test"]:
        """The money of a key when nobody says: live as soon as one network is."""
        return "live" if any(not network.is_test for network in self.settings.networks) else "test"

    @property
    def lifetimes(self) -> Lifetimes:
        accounts = self.settings.accounts
        return Lifetimes(
            timedelta(seconds=accounts.access_token_seconds),
            timedelta(days=accounts.session_days),
            timedelta(days=accounts.session_days_max),
        )

    def asking(self, method: str, headers: Mapping[str, str]) -> Asking:
        return Asking(method, headers, self.origin, self.keyring, self.mode, self.lifetimes)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a request came from, for people who look at their sessions and for limits."""

    address: str
    user_agent: str | None = None
    origin: str | None = None
    """The page that sent it, by its browser's word."""


NOBODY = Visitor("::")
