"""The values that auth modes exchange with the gateway: what is about to be sent, and what vouches for it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Fetch: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[bytes]]
"""POST a form to a URL and return the answer's body, through the guard against private addresses."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """The upstream request about to be sent, for the auth mode that must vouch for it."""

    method: str
    url: str
    client_headers: Mapping[str, str]
    """What the caller sent, hop-by-hop headers and credentials of the gateway left out."""
    fetch: Fetch


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an auth mode adds to the upstream request."""

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    is_selective: bool = False
    """Whether the caller's other headers stay behind, except those that describe the request and its body."""


@dataclass(frozen=True, slots=True)
class Authorizer:
    """An auth mode with one publisher's settings, decrypted."""

    mode: str
    settings: Any = field(repr=False)
    authorize: Callable[[Any, Outbound], Awaitable[Vouched]] = field(repr=False)
