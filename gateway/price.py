"""Stage 5 of 9, after limit, before protect: what may this call cost? Pure.

An endpoint's own price goes before the price of its method, and that before ``price_per_call``.
``min_charge`` and ``max_charge`` bound what is charged at all; a price of zero is free and stays free. A
publisher that set prices but none for this method does not sell it: a gap in a price list never gives
anything away. Where the cost depends on the answer, this is the most it may be; see ``cost.py``.
"""

from collections.abc import Mapping

from gateway import cost
from gateway.kit.problem import Refusal
from gateway.tariffs import Tariff
from gateway.types import Inbound, Match, Price, Pricing, Quote

# What a price list has for a call; the rest of its entries bound it, or are for something else.
LISTED = (
    "price_per_call",
    "price_per_get",
    "price_per_post",
    "price_per_put",
    "price_per_patch",
    "price_per_delete",
)


class NotForSale(Refusal):
    status, slug, title = 403, "method-not-for-sale", "Method not for sale"


def price(match: Match, inbound: Inbound) -> Quote:
    route = match.route
    description = f"{inbound.method} {route.slug}{inbound.path or '/'}"[:200]
    prices = []
    for pricing in route.pricing:
        one = offered(pricing, match, inbound)
        if one is None:
            continue
        if one.ceiling == 0:
            return Quote((), description)
        prices.append(one)
    if not prices:
        raise NotForSale(f"{route.slug} has no price for {inbound.method}")
    return Quote(tuple(prices), description)


def offered(pricing: Pricing, match: Match, inbound: Inbound) -> Price | None:
    """The price in one asset; None where the publisher set none."""
    own = None if match.position is None else pricing.endpoint_prices.get(match.position)
    tariff = pricing.connection_tariff if inbound.is_websocket else pricing.tariff
    if tariff is not None and own is None:
        return by_use(pricing, tariff, match, inbound)
    amount = amount_of(pricing, match, inbound.method)
    if amount is None:
        return None
    prices = pricing.prices
    return Price(
        pricing.asset, amount, pricing.earnings_id, pricing.is_prepaid_enabled, pricing.is_onchain_enabled,
        minimum_balance=prices.get("minimum_balance", 0), grace_minutes=prices.get("grace_period_minutes", 0),
    )  # fmt: skip


def by_use(pricing: Pricing, tariff: Tariff, match: Match, inbound: Inbound) -> Price | None:
    """A price that is known afterwards is held up to its ceiling, which an on-chain payment cannot be: what
    is signed is what is paid.
    """
    base = listed(pricing.prices, inbound.method)
    if base is None and has_list(pricing.prices) and not (tariff.is_reported or tariff.tiers):
        return None
    ceiling = cost.bounds(pricing.prices, tariff, base)
    if inbound.is_websocket and (piece := cost.piece(tariff, pricing.prices)):
        ceiling = (base or 0) + piece
    if ceiling is None:
        raise NotForSale(f"{match.route.slug} sets no reserve_max_charge: what this may cost has no bound")
    prices = pricing.prices
    return Price(
        pricing.asset, ceiling, pricing.earnings_id, pricing.is_prepaid_enabled,
        is_onchain_enabled=False, base=base or 0, floor=prices.get("min_charge", 0), tariff=tariff,
        minimum_balance=prices.get("minimum_balance", 0), grace_minutes=prices.get("grace_period_minutes", 0),
    )  # fmt: skip


def amount_of(pricing: Pricing, match: Match, method: str) -> int | None:
    """The price in one asset; 0 for a free call, None where the publisher set none."""
    prices = pricing.prices
    base = None if match.position is None else pricing.endpoint_prices.get(match.position)
    if base is None:
        base = listed(prices, method)
    if base is None:
        # Only a publisher without any price asks for nothing. One whose prices are for other methods, or not
        # for calls, does not sell this one.
        return None if prices or pricing.endpoint_prices or pricing.tariff is not None else 0
    if base == 0:
        return 0
    amount = max(base, prices.get("min_charge", 0))
    return min(amount, prices["max_charge"]) if prices.get("max_charge") else amount


def has_list(prices: Mapping[str, int]) -> bool:
    return any(name in prices for name in LISTED)


def listed(prices: Mapping[str, int], method: str) -> int | None:
    base = prices.get("price_per_get" if method == "HEAD" else f"price_per_{method.lower()}")
    return prices.get("price_per_call") if base is None else base
