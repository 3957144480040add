"""The most that a caller wants to pay for one call, said in ``X-Max-Price`` and held against every offer.

``0.05`` is an amount at face value, in whatever asset is asked; ``USD 0.05`` says the same, as crawlers write
it; ``USDC 0.05`` also leaves every other asset out.
"""

import re
from dataclasses import replace

from gateway.kit.money import to_text
from gateway.kit.problem import Problem, Refusal, invalid
from gateway.types import MaxPrice, Price, Quote

HEADER = "X-Max-Price"
FORM = re.compile(r"(?:([A-Za-z][A-Za-z0-9._-]{0,15}) )?(0|[1-9][0-9]{0,59})(?:\.([0-9]{1,36}))?", re.ASCII)


class PriceAboveMax(Refusal):
    status, slug, title = 402, "price-above-max", "The price is above your maximum"
    headers = {"Cache-Control": "no-store"}  # noqa: RUF012 - as in the base class

    def __init__(self, asked: MaxPrice, quote: Quote) -> None:
        prices = [f"{to_text(one.ceiling, one.asset.decimals)} {one.asset.symbol}" for one in quote.prices]
        super().__init__(f"this call may cost {' or '.join(prices)}; {HEADER} is {asked.text}")
        self.members = {
            "max_price": asked.text,
            "prices": [
                {
                    "asset_id": str(one.asset.id),
                    "asset_symbol": one.asset.symbol,
                    "network": one.asset.network,
                    "price_atomic": str(one.ceiling),
                    "price": to_text(one.ceiling, one.asset.decimals),
                }
                for one in quote.prices
            ],
        }

    def problem(self) -> Problem:
        return super().problem().model_copy(update=self.members)


def read(header: str) -> MaxPrice:
    form = FORM.fullmatch(header)
    if form is None:
        raise invalid(f"header/{HEADER}", "is not a price like 0.05 or USDC 0.05")
    symbol, whole, fraction = form[1], form[2], form[3] or ""
    is_any = symbol is None or symbol.upper() == "USD"
    return MaxPrice(header, None if is_any else symbol, int(whole + fraction), len(fraction))


def within(quote: Quote, most: MaxPrice) -> Quote:
    """The offers that the caller is willing to pay; refused when there are none."""
    prices = tuple(one for one in quote.prices if is_within(one, most))
    if not prices:
        raise PriceAboveMax(most, quote)
    return replace(quote, prices=prices)


def is_within(price: Price, most: MaxPrice) -> bool:
    if most.symbol is not None and most.symbol.lower() != price.asset.symbol.lower():
        return False
    # Compared as fractions with a common denominator, so nothing is rounded.
    return bool(price.ceiling * 10**most.decimals <= most.digits * 10**price.asset.decimals)
