"""What a publisher may ask of its calls besides a price: values of a route."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from gateway.kit.dsn import Dsn as Dsn


@dataclass(frozen=True, slots=True)
class Exchange:
    """Where and how a publisher turns our word for a caller into a token of its own."""

    url: str
    method: str
    mode: str
    path: tuple[str, ...]
    ttl_seconds: int
    header: str
    """What the upstream gets the token in."""


@dataclass(frozen=True, slots=True)
class Passthrough:
    """The upstream asks for x402 payments itself."""

    rate: Fraction
    """The gateway's share of what the upstream is paid, on top of it."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Where an API's resources have their ids: whoever created one is the only one to see it."""

    collection: tuple[str, ...]
    """The segments of the path before the id."""
    path: tuple[str, ...]
    """Of the id in the answer to the POST that created it."""


Policy: TypeAlias = Literal["default_allow", "default_deny"]
Format: TypeAlias = Literal["json", "ndjson", "csv"]


@dataclass(frozen=True, slots=True)
class Question:
    """One statement for a publisher's database."""

    statement: str
    params: tuple[Any, ...]
    rows_max: int
    """How many rows are returned, and paid for, at most."""
    format: Format = "json"
