"""Publishers whose upstream asks for x402 payments itself: the gateway's fee, and headers of both payments.

A call then has two payees. What the caller pays the upstream passes through untouched; the fee is the price
that the publisher lists, and a share of what the upstream is paid.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy

from config.networks import V1_NAMES
from gateway.kit import hygiene
from gateway.options import Passthrough
from gateway.types import Asset, Pricing
from gateway.upstream_payment import Bill

# The upstream's own headers, by the names under which callers get them.
PASSED_ON = {
    "PAYMENT-REQUIRED": "PAYMENT-REQUIRED-UPSTREAM",
    "PAYMENT-RESPONSE": "PAYMENT-RESPONSE-UPSTREAM",
    "X-PAYMENT-RESPONSE": "X-PAYMENT-RESPONSE-UPSTREAM",
}
REQUIRED = PASSED_ON["PAYMENT-REQUIRED"]
RECEIPTS = (PASSED_ON["PAYMENT-RESPONSE"], PASSED_ON["X-PAYMENT-RESPONSE"])


def passthrough_of(details: Mapping[str, Any]) -> Passthrough | None:
    """None for a publisher under any other billing model."""
    if details.get("billing_model") != "x402_passthrough":
        return None
    return Passthrough(Fraction(details.get("gateway_fee_percent") or 0) / 100)


def share(rate: Fraction, amount: int, theirs: Asset, ours: Asset) -> int:
    """Of what the upstream is paid, in as many units of our asset, rounded up."""
    return ceil(amount * rate * Fraction(10) ** (ours.decimals - theirs.decimals))


def asset_of(bill: Bill, pricing: Sequence[Pricing]) -> Asset | None:
    """The asset that the upstream is paid in, among those that the publisher accepts."""
    found = [
        one.asset
        for one in pricing
        if bill.network in (one.asset.network, V1_NAMES.get(one.asset.chain_id))
        and (bill.asset is None or bill.asset.lower() == one.asset.address)
    ]
    # A payment of version 1 names a network only; which of its assets is meant must make no difference.
    return found[0] if len({one.decimals for one in found}) == 1 else None


def of_response(headers: CIMultiDictProxy[str]) -> CIMultiDictProxy[str]:
    """The headers that a caller may see, and what the upstream says of payments under other names."""
    kept = CIMultiDict(hygiene.of_response(headers))
    for name, passed in PASSED_ON.items():
        said = headers.getall(name, ())
        # What no header may say is left out here, or no answer could be written that repeats it.
        if len(said) == 1 and said[0].isascii() and said[0].isprintable():
            kept[passed] = said[0]
    return CIMultiDictProxy(kept)
