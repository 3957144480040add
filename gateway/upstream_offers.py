"""The 402 of an upstream that asks for a payment itself, offered on to the caller beside our own offers.

What the upstream's payer signs passes untouched. The answer says which payment goes into which header, and
what the gateway takes for each of the upstream's offers.
"""

import asyncio
import binascii
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import msgspec
from aiohttp import ClientError

from gateway import passthrough
from gateway.kit.money import to_text
from gateway.kit.problem import Refusal
from gateway.price import describe, fees
from gateway.rails.x402 import X402Rail
from gateway.settle import Settled
from gateway.types import Answer, Inbound, Match, Outcome, Price, Quote
from gateway.upstream_payment import HEADER, Bill, amount_of
from gateway.x402.offers import HEADER_BYTES_MAX, PaymentRequired

BODY_BYTES_MAX = 1 << 16
BODY_SECONDS_MAX = 10
# How many of the upstream's offers have their fee told; our own offers have to fit into a header.
OFFERS_MAX = 12
DEPTH_MAX = 32
# The members that are x402's. An upstream may say more in its body, about the publisher's account with it.
MEMBERS = ("x402Version", "error", "resource", "accepts", "extensions")


class UpstreamPaymentRequired(PaymentRequired):
    slug, title = "upstream-payment-required", "The upstream asks for a payment"
    outcome: Outcome = "upstream_refused"  # type: ignore[misc]  # a class variable there too


class UpstreamOffersUnreadable(Refusal):
    status, slug, title = 502, "upstream-offers-unreadable", "The upstream's offers cannot be passed on"
    outcome = "upstream_refused"


async def refuse(x402: X402Rail, inbound: Inbound, match: Match, settled: Settled) -> NoReturn:
    raise await refusal(x402, inbound, match, settled)


async def refusal(x402: X402Rail, inbound: Inbound, match: Match, settled: Settled) -> Refusal:
    """What to tell the caller of an upstream that answered 402; nothing was charged."""
    answer, slug = settled.answer, match.route.slug
    asked = offered(answer, await body_of(answer))
    told = list(reckoned(match, inbound.method, asked))
    is_paid = inbound.upstream_payment is not None
    if not told and not is_paid:
        return UpstreamOffersUnreadable(
            f"the upstream of {slug} asks for a payment, and its offers "
            + ("are in assets that the gateway's fee cannot be told in" if asked else "cannot be read")
        )
    if inbound.upstream_payment is not None and not told:
        # Some say no more than that the payment did not settle.
        bill = inbound.upstream_payment.bill
        told = [(bill, fees(match, inbound.method, bill) or ())]
    prices = tuple(dict.fromkeys(price for _, some in told for price in some))[:OFFERS_MAX]
    challenge = x402.challenge(inbound, match, Quote(prices, describe(match, inbound)))
    return UpstreamPaymentRequired(
        detail(slug, asked, prices, is_paid=is_paid),
        challenge.resource,
        challenge.requirements,
        error="upstream_payment_refused" if is_paid else "upstream_payment_required",
        headers=headers(settled),
        extensions=challenge.extensions,
        upstream_payment_header=HEADER,
        upstream_offers=asked,
        gateway_fees=[member(bill, price) for bill, some in told for price in some],
    )


async def body_of(answer: Answer) -> bytes:
    """As much of it as offers may be long; nothing of a longer one."""
    body = bytearray()
    with suppress(ClientError, ConnectionError, TimeoutError):
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for chunk in answer.chunks:
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    return b""
    return bytes(body)


def offered(answer: Answer, body: bytes) -> list[dict[str, Any]]:
    """What the upstream asks for, version 2 first, in its own words."""
    found = []
    header = answer.head.headers.get(passthrough.REQUIRED)
    if header is not None and len(header) <= BODY_BYTES_MAX:
        with suppress(binascii.Error, UnicodeError):
            found += read(2, binascii.a2b_base64(header.encode("ascii"), strict_mode=True))
    return [*found, *read(1, body)]


def read(version: int, text: bytes) -> list[dict[str, Any]]:
    """The offers of one version, or none."""
    try:
        document = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    if not isinstance(document, dict) or document.get("x402Version") != version:
        return []
    accepts = document.get("accepts")
    is_offer = isinstance(accepts, list) and accepts and all(isinstance(one, dict) for one in accepts)
    if not is_offer or not is_flat(document, DEPTH_MAX):
        return []
    return [{name: document[name] for name in MEMBERS if name in document}]


def is_flat(value: Any, depth: int) -> bool:
    """Whether it nests no deeper than that: what writes it down again recurses."""
    if depth == 0:
        return False
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(is_flat(one, depth - 1) for one in inner)


def reckoned(
    match: Match, method: str, asked: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Bill, tuple[Price, ...]]]:
    """Each thing that the upstream can be paid with, and the fee for it."""
    seen: set[Bill] = set()
    for offer in [one for required in asked for one in required["accepts"]][:OFFERS_MAX]:
        bill = billed(offer)
        if bill is None or bill in seen:
            continue
        seen.add(bill)
        found = fees(match, method, bill)
        if found is not None:
            yield bill, found


def billed(offer: Mapping[str, Any]) -> Bill | None:
    network, asset = offer.get("network"), offer.get("asset")
    amount = offer.get("amount", offer.get("maxAmountRequired"))
    if not isinstance(network, str) or not isinstance(asset, str):
        return None
    return Bill(network, asset, amount_of(amount))


def member(bill: Bill, price: Price) -> dict[str, str | None]:
    asset = price.asset
    return {
        "upstream_network": bill.network,
        "upstream_asset": bill.asset,
        "upstream_amount": None if bill.amount is None else str(bill.amount),
        "network": asset.network,
        "asset_symbol": asset.symbol,
        "fee_atomic": str(price.ceiling),
        "fee": to_text(price.ceiling, asset.decimals),
    }


def detail(slug: str, asked: Sequence[Mapping[str, Any]], prices: Sequence[Price], *, is_paid: bool) -> str:
    why = next((str(one["error"])[:200] for one in asked if one.get("error")), "")
    opening = (
        f"the upstream of {slug} did not take the payment in {HEADER}{f' ({why})' if why else ''}; the call "
        "was not charged. It"
        if is_paid
        else f"the upstream of {slug}"
    )
    fee = (
        "The gateway's fee is paid in the same request: one of accepts in PAYMENT-SIGNATURE or X-PAYMENT, or "
        "from a balance, with the API key of a funded organization"
        if prices
        else "The gateway takes no fee"
    )
    return f"{opening} asks for a payment: sign one of upstream_offers and send it in {HEADER}. {fee}"


def headers(settled: Settled) -> Mapping[str, str]:
    """What the upstream said in headers, where clients can read a header so long; and what our rail has to
    say.
    """
    said = settled.answer.head.headers
    passed = {
        name: said[name]
        for name in (passthrough.REQUIRED, *passthrough.RECEIPTS)
        if name in said and len(said[name]) <= HEADER_BYTES_MAX
    }
    return (
        {}
        if not passed
        else {
            **passed,
            "Access-Control-Expose-Headers": ", ".join(["PAYMENT-REQUIRED", *passed]),
        }
    )
