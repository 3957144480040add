"""How amounts, quantities and numbers are written on an invoice."""

from fractions import Fraction
from typing import Literal

PREFIXES = {"live": "INV", "test": "TEST"}


def usd(cents: int) -> str:
    sign, size = ("-" if cents < 0 else ""), abs(cents)
    return f"{sign}{size // 100}.{size % 100:02}"


def numbered(mode: Literal["live", "test"], number: int | None) -> str:
    return "DRAFT" if number is None else f"{PREFIXES[mode]}-{number:06}"


def decimal(value: Fraction, places: int) -> str:
    """With up to so many places, rounded half to even; without zeros that say nothing."""
    scaled = round(value * 10**places)
    sign, digits = ("-" if scaled < 0 else ""), str(abs(scaled)).rjust(places + 1, "0")
    whole, rest = digits[: len(digits) - places], digits[len(digits) - places :].rstrip("0")
    return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"
