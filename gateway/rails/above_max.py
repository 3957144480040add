"""A caller's own limit on the price of one call, held against every offer before anything is reserved."""

from dataclasses import replace

from gateway.kit.money import to_text
from gateway.kit.problem import Problem, Refusal
from gateway.max_price import HEADER, MaxPrice
from gateway.types import Price, Quote


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
