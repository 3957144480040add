"""What a call costs whose price depends on its answer. Pure.

``tariff`` reads a price list once, when it is published; ``bounds`` says what is set aside before the call,
and ``actual`` what is charged after it. Fractions are exact until the end, and the end is rounded up to the
atomic unit: a price that is smaller than a unit is not free.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from gateway.kit import documents
from gateway.tariffs import Tariff, Tier, Used
from gateway.types import Price

SECONDS_PER_HOUR = 3600
# Longer than any call may take, so a ceiling of this much time is one.
LONGEST_CALL_SECONDS = 3600
# Of an open connection: how much of it is paid for at a time.
PIECE_BYTES = 1 << 20
PIECE_SECONDS = 60
PIECE_SECONDS_HELD = 90
ONE = Fraction(1)


def markup(prices: Mapping[str, Any]) -> Fraction:
    return Fraction(Decimal(prices.get("markup_multiplier") or 1))


def raised(amount: int, factor: Fraction) -> int:
    """A price with the publisher's markup."""
    return amount if factor == ONE else ceil(amount * factor)


def tariff(
    details: Mapping[str, Any], category: str, prices: Mapping[str, Any], decimals: int
) -> Tariff | None:
    """None for a price list whose prices are known before the call."""
    billing, model = details.get("billing_model"), prices.get("pricing_model")
    if billing == "x402_passthrough":
        # The gateway's fee is known with the upstream's price; see price.py.
        return None
    if billing == "pay_per_use" or model == "passthrough":
        return Tariff(
            is_reported=True,
            path=documents.steps(details.get("upstream_cost_response_path") or ""),
            per_reported=10**decimals * markup(prices),
            fallback=prices.get("unresolved_fallback_charge"),
        )
    counted = connection_tariff(prices)
    if counted is not None and category != "compute":
        counted = replace(counted, per_second=Fraction(0))
    return counted if counted is not None and counted.is_something else None


def connection_tariff(prices: Mapping[str, Any]) -> Tariff | None:
    """Of a WebSocket: what passes in both directions counts, and the time it is open."""
    model, factor = prices.get("pricing_model"), markup(prices)
    made = Tariff(
        per_byte=per_byte(prices) if model == "per_byte" else Fraction(0),
        per_second=Fraction(prices.get("hourly_rate", 0), SECONDS_PER_HOUR) * factor,
        tiers=tiers(prices) if model == "tiered" else (),
    )
    return made if made.is_something else None


def per_byte(prices: Mapping[str, Any]) -> Fraction:
    """The model says what the units of ``base_price_per_1000_rows`` are: here they are bytes."""
    return Fraction(prices.get("base_price_per_1000_rows", 0), 1000) * markup(prices)


def row_tariff(prices: Mapping[str, Any]) -> Tariff | None:
    """Of a database: its rows cost something unless the model says that only the call does."""
    if prices.get("pricing_model", "per_row") != "per_row":
        return None
    made = Tariff(per_row=per_byte(prices))
    return made if made.is_something else None


def row_ceiling(prices: Mapping[str, int], tariff: Tariff, base: int | None, rows_max: int) -> int:
    """So many rows and no more are returned. A statement without any still asks for a payer."""
    most = (base or 0) + ceil(tariff.per_row * max(rows_max, 1))
    most = max(most, prices.get("min_charge", 0))
    said = [prices[name] for name in ("reserve_max_charge", "max_charge") if prices.get(name)]
    return min([most, *said])


def tiers(prices: Mapping[str, Any]) -> tuple[Tier, ...]:
    factor = markup(prices)
    return tuple(Tier(one["up_to"], raised(one["price"], factor)) for one in prices.get("tiers") or ())


def piece(tariff: Tariff, prices: Mapping[str, int]) -> int:
    """What is held at a time for an open connection, whose use has no end that could be held."""
    if tariff.is_known_at_head:
        return 0
    by_time = tariff.per_second * PIECE_SECONDS_HELD
    return ceil(max(by_time, prices.get("reserve_max_charge") or by_time + tariff.per_byte * PIECE_BYTES))


def bounds(prices: Mapping[str, int], tariff: Tariff, base: int | None) -> int | None:
    """The most that a call may cost; None when the price list leaves that open."""
    said = [prices[name] for name in ("reserve_max_charge", "max_charge") if prices.get(name)]
    if said:
        return min(said)
    if tariff.tiers:
        most = max(one.price for one in tariff.tiers) + timed(tariff)
    elif tariff.is_reported:
        most = max(tariff.fallback or 0, base or 0)
    elif tariff.per_byte:
        return None
    else:
        most = (base or 0) + timed(tariff)
    return max(most, prices.get("min_charge", 0)) if most else None


def timed(tariff: Tariff) -> int:
    return ceil(tariff.per_second * LONGEST_CALL_SECONDS)


def actual(price: Price, used: Used) -> int:
    """What the call did cost: never more than was set aside, and what does not fit into that is not owed."""
    one = price.tariff
    if one is None:
        return price.ceiling
    cost = reported(price, one, used) if one.is_reported else counted(price.base, one, used)
    return min(max(cost, price.floor), price.ceiling)


def counted(base: int, tariff: Tariff, used: Used) -> int:
    base = tier_of(tariff, used.place) if tariff.tiers else base
    by_time = tariff.per_second * used.milliseconds / 1000
    return base + ceil(tariff.per_byte * used.byte_count + tariff.per_row * used.row_count + by_time)


def reported(price: Price, tariff: Tariff, used: Used) -> int:
    """An answer that does not say what it cost is never free by accident: it costs what was agreed for that
    case, or all that was set aside.
    """
    if used.reported is not None:
        return ceil(used.reported * tariff.per_reported)
    if tariff.fallback is not None:
        return tariff.fallback
    return price.base or price.ceiling


def tier_of(tariff: Tariff, place: int) -> int:
    """The price of a caller's n-th call of the month; the last tier goes on without end."""
    for one in tariff.tiers:
        if one.up_to is None or place <= one.up_to:
            return one.price
    return tariff.tiers[-1].price
