"""Stage 5 of 9, after limit, before protect: what may this call cost? Pure.

An endpoint's own price goes before the price of its method, and that before ``price_per_call``.
``min_charge`` and ``max_charge`` bound what is charged at all; a price of zero is free and stays free. A
publisher that set prices but none for this method does not sell it: a gap in a price list never gives
anything away. Where the cost depends on the answer, this is the most it may be; see ``cost.py``.
"""

from collections.abc import Mapping

from gateway import cost, passthrough, upstream_payment
from gateway.kit.problem import Refusal, invalid
from gateway.tariffs import Tariff
from gateway.types import Inbound, Match, Price, Pricing, Quote
from gateway.upstream_payment import Bill

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
    description = describe(match, inbound)
    if route.passthrough is not None:
        return Quote(passthrough_prices(match, inbound), description)
    if inbound.upstream_payment is not None:
        raise invalid(f"header/{upstream_payment.HEADER}", f"the upstream of {route.slug} takes no payments")
    if inbound.is_websocket or inbound.question is not None:
        # By what passes through it, or by its rows: another in each call.
        return Quote(prices_of(match, inbound), description)
    asked = inbound.method, match.position
    prices = route.quoted.get(asked)
    if prices is None:
        prices = route.quoted[asked] = prices_of(match, inbound)
    return Quote(prices, description)


def prices_of(match: Match, inbound: Inbound) -> tuple[Price, ...]:
    """None at all for a free call."""
    prices = []
    for pricing in match.route.pricing:
        one = offered(pricing, match, inbound)
        if one is None:
            continue
        if one.ceiling == 0:
            return ()
        prices.append(one)
    if not prices:
        raise NotForSale(f"{match.route.slug} has no price for {inbound.method}")
    return tuple(prices)


def describe(match: Match, inbound: Inbound) -> str:
    return f"{inbound.method} {match.route.slug}{inbound.path or '/'}"[:200]


def passthrough_prices(match: Match, inbound: Inbound) -> tuple[Price, ...]:
    """Nothing for a call that only finds out what the upstream asks; with a payment for it, the fee."""
    slug = match.route.slug
    if inbound.is_websocket:
        raise NotForSale(f"{slug} asks for a payment with each call, which a connection cannot make")
    bill = None if inbound.upstream_payment is None else inbound.upstream_payment.bill
    found = fees(match, inbound.method, bill or Bill("", None, 0))
    if found is None:
        # The payer may have signed another offer of the upstream before it asked here.
        detail = f"pays in an asset that {slug} does not accept, so the gateway's fee cannot be told"
        raise invalid(f"header/{upstream_payment.HEADER}", detail)
    return () if bill is None else found


def fees(match: Match, method: str, bill: Bill) -> tuple[Price, ...] | None:
    """The gateway's fee for a call that its upstream is paid so much for; None where it cannot be told."""
    route = match.route
    assert route.passthrough is not None, "asked only where the upstream takes payments"
    rate = route.passthrough.rate
    theirs = passthrough.asset_of(bill, route.pricing) if rate and bill.amount else None
    if rate and bill.amount != 0 and (bill.amount is None or theirs is None):
        return None
    prices = []
    for pricing in route.pricing:
        base = fixed(pricing, match, method)
        if base is None:
            continue
        part = (
            passthrough.share(rate, bill.amount, theirs, pricing.asset)
            if rate and bill.amount and theirs
            else 0
        )
        amount = bounded(base + part, pricing.prices)
        if amount == 0:
            return ()
        prices.append(known(pricing, amount))
    if not prices:
        raise NotForSale(f"{route.slug} has no price for {method}")
    return tuple(prices)


def fixed(pricing: Pricing, match: Match, method: str) -> int | None:
    """The part of a fee that is listed; a publisher that lists none takes its share only."""
    own = None if match.position is None else pricing.endpoint_prices.get(match.position)
    base = listed(pricing.prices, method) if own is None else own
    if base is None and not has_list(pricing.prices) and not pricing.endpoint_prices:
        return 0
    return base


def offered(pricing: Pricing, match: Match, inbound: Inbound) -> Price | None:
    """The price in one asset; None where the publisher set none."""
    own = None if match.position is None else pricing.endpoint_prices.get(match.position)
    tariff = pricing.connection_tariff if inbound.is_websocket else pricing.tariff
    if tariff is not None and own is None:
        return by_use(pricing, tariff, match, inbound)
    amount = amount_of(pricing, match, inbound.method)
    if amount is None:
        return None
    return known(pricing, amount)


def known(pricing: Pricing, amount: int) -> Price:
    """A price that does not depend on the answer."""
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
    question = inbound.question if tariff.per_row else None
    if question is None:
        ceiling = cost.bounds(pricing.prices, tariff, base)
    else:
        ceiling = cost.row_ceiling(pricing.prices, tariff, base, question.rows_max)
    if inbound.is_websocket and (piece := cost.piece(tariff, pricing.prices)):
        ceiling = (base or 0) + piece
    if ceiling is None:
        raise NotForSale(f"{match.route.slug} sets no reserve_max_charge: what this may cost has no bound")
    prices = pricing.prices
    # What is signed for a number of rows buys that many, however few there are.
    is_onchain = pricing.is_onchain_enabled and question is not None
    return Price(
        pricing.asset, ceiling, pricing.earnings_id, pricing.is_prepaid_enabled,
        is_onchain_enabled=is_onchain, base=base or 0, floor=prices.get("min_charge", 0), tariff=tariff,
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
    return bounded(base, prices)


def bounded(amount: int, prices: Mapping[str, int]) -> int:
    if amount == 0:
        return 0
    amount = max(amount, prices.get("min_charge", 0))
    return min(amount, prices["max_charge"]) if prices.get("max_charge") else amount


def has_list(prices: Mapping[str, int]) -> bool:
    return any(name in prices for name in LISTED)


def listed(prices: Mapping[str, int], method: str) -> int | None:
    base = prices.get("price_per_get" if method == "HEAD" else f"price_per_{method.lower()}")
    return prices.get("price_per_call") if base is None else base
