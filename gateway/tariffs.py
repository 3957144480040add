"""How the cost of a call follows from its answer, and what is measured of the answer."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Tier:
    """The price of a caller's calls up to that one of the month; None for all the rest."""

    up_to: int | None
    price: int


@dataclass(frozen=True, slots=True)
class Tariff:
    """How the cost of a call follows from its answer, in atomic units with the markup included."""

    is_reported: bool = False
    """The answer says what it cost, at ``path``; otherwise it is counted."""
    path: tuple[str, ...] = ()
    per_reported: Fraction = Fraction(1)
    fallback: int | None = None
    per_byte: Fraction = Fraction(0)
    per_second: Fraction = Fraction(0)
    per_row: Fraction = Fraction(0)
    tiers: tuple[Tier, ...] = ()

    @property
    def is_something(self) -> bool:
        return bool(self.is_reported or self.per_byte or self.per_second or self.per_row or self.tiers)

    @property
    def is_known_at_head(self) -> bool:
        return not (self.is_reported or self.per_byte or self.per_second or self.per_row)


class Rows(Protocol):
    """Of a database's answer: how many were passed on so far."""

    @property
    def row_count(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Used:
    """What a call used, as far as its tariff asks."""

    byte_count: int = 0
    milliseconds: int = 0
    row_count: int = 0
    place: int = 1
    """Which call of the caller's month it was."""
    reported: Fraction | None = None
    """In units of the asset; None where the answer did not say."""


NOTHING_MEASURED = Used()
