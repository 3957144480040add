"""Stage 5 of 8, after limit, before pay: what may this call cost? Pure.

An endpoint's own price goes before the price of its method, and that before ``price_per_call``.
``min_charge`` and ``max_charge`` bound what is charged at all; a price of zero is free and stays free. A
publisher that set prices but none for this method does not sell it: a gap in a price list never gives
anything away.
"""

from gateway.kit.problem import Refusal
from gateway.types import Inbound, Match, Price, Pricing, Quote


class NotForSale(Refusal):
    status, slug, title = 403, "method-not-for-sale", "Method not for sale"


def price(match: Match, inbound: Inbound) -> Quote:
    route = match.route
    description = f"{inbound.method} {route.slug}{inbound.path or '/'}"[:200]
    prices = []
    for pricing in route.pricing:
        amount = amount_of(pricing, match, inbound.method)
        if amount is None:
            continue
        if amount == 0:
            return Quote((), description)
        prices.append(
            Price(
                pricing.asset, amount, pricing.earnings_id,
                pricing.is_prepaid_enabled, pricing.is_onchain_enabled,
            )
        )  # fmt: skip
    if not prices:
        raise NotForSale(f"{route.slug} has no price for {inbound.method}")
    return Quote(tuple(prices), description)


def amount_of(pricing: Pricing, match: Match, method: str) -> int | None:
    """The price in one asset; 0 for a free call, None where the publisher set none."""
    prices = pricing.prices
    base = None if match.position is None else pricing.endpoint_prices.get(match.position)
    if base is None:
        base = prices.get("price_per_get" if method == "HEAD" else f"price_per_{method.lower()}")
    if base is None:
        base = prices.get("price_per_call")
    if base is None:
        # Only a publisher without any price asks for nothing. One whose prices are for other methods, or not
        # for calls, does not sell this one.
        return None if prices or pricing.endpoint_prices else 0
    if base == 0:
        return 0
    amount = max(base, prices.get("min_charge", 0))
    return min(amount, prices["max_charge"]) if prices.get("max_charge") else amount
