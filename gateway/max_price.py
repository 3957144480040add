"""The most that a caller wants to pay for one call, said in ``X-Max-Price``.

``0.05`` is an amount at face value, in whatever asset is asked; ``USD 0.05`` says the same, as crawlers write
it; ``USDC 0.05`` also leaves every other asset out.
"""

import re
from dataclasses import dataclass

HEADER = "X-Max-Price"
FORM = re.compile(r"(?:([A-Za-z][A-Za-z0-9._-]{0,15}) )?(0|[1-9][0-9]{0,59})(?:\.([0-9]{1,36}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class MaxPrice:
    """``digits`` divided by ten to the power of ``decimals``."""

    text: str
    symbol: str | None
    """The only asset it wants to pay in, or None for any."""
    digits: int
    decimals: int


def read(header: str) -> MaxPrice:
    """ValueError for anything else than a plain decimal, with or without a symbol."""
    form = FORM.fullmatch(header)
    if form is None:
        raise ValueError("is not a price like 0.05 or USDC 0.05")
    symbol, whole, fraction = form[1], form[2], form[3] or ""
    is_any = symbol is None or symbol.upper() == "USD"
    return MaxPrice(header, None if is_any else symbol, int(whole + fraction), len(fraction))
