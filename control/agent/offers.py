"""What a 402 asks for: read, told to the buyer, and signed."""

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from control.agent.calls import Answer, NotBought, Order
from control.agent.client import decode, encode
from control.agent.wallet import sign_payment
from gateway.kit.money import to_text

FORMS = {
    "amount": re.compile(r"[0-9]{1,78}", re.ASCII),
    "network": re.compile(r"eip155:[0-9]{1,19}", re.ASCII),
    "asset": re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII),
    "payTo": re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII),
}
SYMBOL = re.compile(r"[A-Za-z0-9$.₮_-]{1,16}")
IDENTIFIER = "payment-identifier"
ASKING_SECONDS = 5

Symbols: TypeAlias = Mapping[tuple[str, str], str]
"""By network and contract."""


@dataclass(frozen=True, slots=True)
class Offer:
    amount: int
    token: str
    """Its symbol, or what the contract calls itself where the symbol is not known."""
    network: str
    terms: Mapping[str, Any]
    """As it was offered: a payment repeats it."""


async def symbols(session: ClientSession, order: Order) -> Symbols:
    """What this gateway calls its tokens, as anybody may ask; nothing where that is not told.

    How many decimals they have is not taken from it: whoever sells could make a price look small by that.
    """
    url = URL(order.url).origin() / "payments" / "supported"
    try:
        async with session.get(url, allow_redirects=False, timeout=ClientTimeout(ASKING_SECONDS)) as response:
            found = Answer(response.status, response.headers, await response.read())
    except (ClientError, TimeoutError):
        return {}
    try:
        return {
            (kind["network"], asset["asset"].lower()): asset["symbol"]
            for kind in found.member("kinds") or ()
            for asset in kind["extra"]["assets"]
            if SYMBOL.fullmatch(asset["symbol"])
        }
    except (KeyError, TypeError, AttributeError):
        return {}


def prices_above_max(asked: Answer) -> Sequence[str]:
    """What a call may cost, where the gateway itself refused it for us; otherwise nothing."""
    prices = asked.member("prices") if asked.member("code") == "price-above-max" else None
    try:
        return [f"{one['price']} {one['asset_symbol']}" for one in prices or ()]
    except (KeyError, TypeError):
        return []


def read(asked: Answer, known: Symbols) -> tuple[Mapping[str, Any], Sequence[Offer]]:
    """What a 402 asks for, and the offers in it that this client can pay."""
    if prices := prices_above_max(asked):
        raise NotBought(f"the price is {prices[0]}, more than --max-price allows; nothing was paid")
    try:
        required = decode(asked.headers["PAYMENT-REQUIRED"])
        return required, offers_in(required, known)
    except (KeyError, TypeError, ValueError, AttributeError):
        said = f": {asked.detail}" if asked.detail else ""
        raise NotBought(f"it asks for payment, and not in a way that x402 version 2 knows{said}") from None


def offers_in(required: Mapping[str, Any], known: Symbols) -> Sequence[Offer]:
    return [
        Offer(
            int(one["amount"]),
            known.get((one["network"], one["asset"].lower()), str(one["extra"]["name"])),
            one["network"],
            one,
        )
        for one in required["accepts"]
        if can_pay(one)
    ]


def can_pay(offer: Mapping[str, Any]) -> bool:
    """Whether it is scheme ``exact`` on an EVM network, with everything that is signed in its place."""
    seconds = offer.get("maxTimeoutSeconds")
    extra = offer.get("extra")
    return (
        offer.get("scheme") == "exact"
        and all(FORMS[name].fullmatch(str(offer.get(name))) for name in FORMS)
        and isinstance(seconds, int)
        and isinstance(extra, dict)
        and all(isinstance(extra.get(name), str) for name in ("name", "version"))
    )


def text(offer: Offer, order: Order) -> str:
    return f"{to_text(offer.amount, order.decimals)} {offer.token} on {offer.network}"


def signed(key: bytes, required: Mapping[str, Any], offer: Offer) -> tuple[str, str]:
    """A payment for the offer, as the header has it, and the address that it is from."""
    payload = sign_payment(key, offer.terms, int(time.time()))
    payment = {
        "x402Version": 2,
        "resource": required.get("resource"),
        "accepted": offer.terms,
        "payload": payload,
        **named(required),
    }
    return encode(payment), payload["authorization"]["from"]


def named(required: Mapping[str, Any]) -> Mapping[str, Any]:
    """A name of its own for a payment, where the offer wants one to know it by when it comes again."""
    try:
        wanted = required["extensions"][IDENTIFIER]
        is_required = wanted["info"]["required"] is True
    except (KeyError, TypeError):
        return {}
    if not is_required:
        return {}
    info = {**wanted["info"], "id": f"pay_{secrets.token_hex(16)}"}
    return {"extensions": {IDENTIFIER: {**wanted, "info": info}}}
