"""What an operation answers with, besides a model: each says its status, or that it is no JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Created(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class Headed(Generic[T]):
    value: T
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """JSON that is written already, in the shape of the model: rows of somebody's database, say."""

    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text in UTF-8."""

    content: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Blob:
    """An image."""

    content: bytes = field(repr=False)
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Html:
    """A page to look at and to print, without scripts."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Csv:
    """A table for a spreadsheet, as a file to be saved (RFC 4180)."""

    content: bytes = field(repr=False)
    filename: str


@dataclass(frozen=True, slots=True)
class Found:
    location: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Done:
    """Carried out, and there is nothing to say about it."""
