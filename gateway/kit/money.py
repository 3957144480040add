"""Decimal text at the edge, integers inside. Nothing here rounds, but for totals over assets."""

import re
from functools import lru_cache

DECIMAL = re.compile(r"(0|[1-9][0-9]{0,59})(?:\.([0-9]{1,36}))?", re.ASCII)
ATOMIC_MAX = 10**78 - 1


def to_atomic(text: str, decimals: int) -> int:
    """``to_atomic("0.49", 6)`` is 490000.

    ValueError for anything that is not plain decimal digits, is negative, or is finer than the asset.
    """
    match = DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError("is not a decimal number like 0.05")
    whole, fraction = match[1], (match[2] or "").rstrip("0")
    if len(fraction) > decimals:
        raise ValueError(f"has more than {decimals} decimals")
    atomic = int(whole + fraction.ljust(decimals, "0"))
    if atomic > ATOMIC_MAX:
        raise ValueError("is too large")
    return atomic


def to_atomic_down(text: str, decimals: int) -> int:
    """As ``to_atomic``, for a bound that is no money: what is finer than the asset is left away."""
    whole, _, fraction = text.partition(".")
    return to_atomic(f"{whole}.{fraction[:decimals]}".rstrip("."), decimals)


@lru_cache(maxsize=4096)
def to_text(atomic: int, decimals: int) -> str:
    """``to_text(490000, 6)`` is "0.49"; the inverse of ``to_atomic``, and it shows negative amounts too."""
    sign, digits = ("-" if atomic < 0 else ""), str(abs(atomic)).rjust(decimals + 1, "0")
    whole, fraction = (digits[:-decimals], digits[-decimals:].rstrip("0")) if decimals else (digits, "")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


# What a dollar is counted in where assets of several decimals are added up.
MILLIONTHS = 6


def millionths(amount: int, decimals: int) -> int:
    """Rounded down, so that nobody is told of money that is not there."""
    if decimals <= MILLIONTHS:
        return int(amount * 10 ** (MILLIONTHS - decimals))
    return int(amount // 10 ** (decimals - MILLIONTHS))


def of_millionths(amount: int, decimals: int) -> int:
    """Atomic units for millionths of a dollar; ``ValueError`` for what is finer than the asset."""
    if decimals >= MILLIONTHS:
        return int(amount * 10 ** (decimals - MILLIONTHS))
    if amount % 10 ** (MILLIONTHS - decimals):
        raise ValueError(f"is finer than the asset, which has {decimals} decimals")
    return int(amount // 10 ** (MILLIONTHS - decimals))


def usd(amount: int) -> str:
    """``amount`` is in millionths of a dollar."""
    return to_text(amount, MILLIONTHS)
