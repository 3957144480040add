"""One call, bought: ask what it costs, decide, pay once, and keep the receipt.

Whatever goes wrong after a payment was signed, the same payment is sent again and never another one: a
gateway tells the sender of a known payment how it stands.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession
from eth_account import Account
from yarl import URL

from control.agent.client import decode, encode
from control.agent.wallet import sign_payment
from gateway.kit.money import to_text

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS_MAX = 10.0
# What a gateway says while it does not know yet; the same payment may be sent again.
UNDECIDED = frozenset({"settlement_pending", "payment-in-progress", "payments-unavailable"})
FORMS = {
    "amount": re.compile(r"[0-9]{1,78}", re.ASCII),
    "network": re.compile(r"eip155:[0-9]{1,19}", re.ASCII),
    "asset": re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII),
    "payTo": re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII),
}


class NotBought(Exception):
    """Why there is no answer, in a sentence for the buyer that says whether anything was paid."""


@dataclass(frozen=True, slots=True)
class Order:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    decimals: int
    price_max: int | None = None
    """In the token's atomic unit."""
    api_key: str | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    paid_from: str = ""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    def member(self, name: str) -> Any:
        """Of a JSON body; None for one without it."""
        try:
            value = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None
        return value.get(name) if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Offer:
    amount: int
    token: str
    network: str
    terms: Mapping[str, Any]
    """As it was offered: a payment repeats it."""


async def buy(
    session: ClientSession, order: Order, tell: Callable[[str], None], *, is_dry_run: bool
) -> Answer | None:
    """None for a dry run that met a price. ``tell`` hears the price and what it is paid from."""
    asked = await send(session, order, {})
    if asked.status == 401 and order.api_key is not None:
        return await buy_known(session, order, tell, is_dry_run=is_dry_run)
    if asked.status != 402:
        return asked
    required, offers = read(asked)
    for offer in offers:
        tell(f"price: {text(offer, order)}")
    if not offers:
        tell("price: not said, because it is not sold for payment on chain")
    await tell_sources(session, order, tell)
    if is_dry_run:
        return None
    if order.api_key is not None:
        paid = await pay_from_balance(session, order, offers)
        if paid.status != 402 or order.private_key is None:
            return paid
        tell(f"the balance does not pay: {paid.member('detail')}")
        required, offers = read(paid)
    return await pay_from_wallet(session, order, required, offers)


async def buy_known(
    session: ClientSession, order: Order, tell: Callable[[str], None], *, is_dry_run: bool
) -> Answer | None:
    """What is free, or sold from a balance, to callers with a key only."""
    # For nothing, or this would buy it already.
    asked = await send(session, order, {**bearer(order), "X-Max-Price": "0"})
    prices = prices_above_max(asked)
    if not prices:
        return asked
    tell(f"price: {' or '.join(prices)}")
    tell(f"from: balance, {await balance(session, order)}")
    if is_dry_run:
        return None
    paid = await from_balance(session, order)
    if dear := prices_above_max(paid):
        raise NotBought(f"the price is {dear[0]}, more than --max-price allows; nothing was paid")
    return paid


async def pay_from_balance(session: ClientSession, order: Order, offers: Sequence[Offer]) -> Answer:
    # The gateway takes whichever of the prices the balance covers, so the dearest counts.
    refuse_if_dear(order, offers, max)
    return await from_balance(session, order)


async def from_balance(session: ClientSession, order: Order) -> Answer:
    try:
        paid = await send(session, order, bearer(order))
    except (ClientError, TimeoutError):
        raise NotBought("the connection broke; /wallet/transactions says whether it was paid") from None
    return Answer(paid.status, paid.headers, paid.body, "balance")


async def send(session: ClientSession, order: Order, credentials: Mapping[str, str]) -> Answer:
    headers = dict(order.headers)
    if order.price_max is not None:
        # A gateway that knows it holds itself to it, even if the price rises after it was asked.
        headers["X-Max-Price"] = to_text(order.price_max, order.decimals)
    headers |= credentials
    async with session.request(
        order.method, order.url, headers=headers, data=order.body, allow_redirects=False
    ) as response:
        return Answer(response.status, response.headers, await response.read())


def bearer(order: Order) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {order.api_key}"}


def prices_above_max(asked: Answer) -> Sequence[str]:
    """What a call may cost, where the gateway itself refused it for us; otherwise nothing."""
    prices = asked.member("prices") if asked.member("code") == "price-above-max" else None
    try:
        return [f"{one['price']} {one['asset_symbol']}" for one in prices or ()]
    except (KeyError, TypeError):
        return []


def read(asked: Answer) -> tuple[Mapping[str, Any], Sequence[Offer]]:
    """What a 402 asks for, and the offers in it that this client can pay."""
    if prices := prices_above_max(asked):
        raise NotBought(f"the price is {prices[0]}, more than --max-price allows; nothing was paid")
    try:
        required = decode(asked.headers["PAYMENT-REQUIRED"])
        listed = [one for one in required["accepts"] if can_pay(one)]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NotBought("it asks for payment, and not in a way that x402 version 2 knows") from None
    return required, [
        Offer(int(one["amount"]), str(one["extra"]["name"]), one["network"], one) for one in listed
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


async def tell_sources(session: ClientSession, order: Order, tell: Callable[[str], None]) -> None:
    if order.api_key is not None:
        tell(f"from: balance, {await balance(session, order)}")
    if order.private_key is not None:
        prefix = "from:" if order.api_key is None else "else from:"
        tell(f"{prefix} wallet {Account.from_key(order.private_key).address}")
    if order.api_key is None and order.private_key is None:
        tell("from: nothing, neither a key nor a wallet is set")


async def balance(session: ClientSession, order: Order) -> str:
    url = URL(order.url).origin() / "wallet" / "balance"
    async with session.get(url, headers=bearer(order), allow_redirects=False) as response:
        found = Answer(response.status, response.headers, await response.read())
    data = found.member("data")
    if not found.is_good or not isinstance(data, dict):
        return "which cannot be read with this key"
    assets = data.get("assets") or []
    has = [f"{to_text(one['available_atomic'], one['decimals'])} {one['symbol']}" for one in assets]
    return " and ".join(has) + " available" if has else "empty"


def refuse_if_dear(order: Order, offers: Sequence[Offer], which: Callable[[Sequence[int]], int]) -> None:
    if order.price_max is None:
        return
    if not offers:
        raise NotBought("the price is not said, so --max-price cannot be kept; nothing was paid")
    price = which([one.amount for one in offers])
    if price > order.price_max:
        raise NotBought(
            f"the price is {to_text(price, order.decimals)}, more than --max-price allows; nothing was paid"
        )


async def pay_from_wallet(
    session: ClientSession, order: Order, required: Mapping[str, Any], offers: Sequence[Offer]
) -> Answer:
    if order.private_key is None:
        raise NotBought("set FAREBOX_API_KEY to pay from a balance, or FAREBOX_PAY_KEY to pay from a wallet")
    if not offers:
        raise NotBought("it offers no way to pay that this client knows; nothing was paid")
    refuse_if_dear(order, offers, min)
    offer = next(one for one in offers if order.price_max is None or one.amount <= order.price_max)
    return await pay(session, order, required, offer, order.private_key)


async def pay(
    session: ClientSession, order: Order, required: Mapping[str, Any], offer: Offer, key: bytes
) -> Answer:
    payload = sign_payment(key, offer.terms, int(time.time()))
    payment = {
        "x402Version": 2,
        "resource": required.get("resource"),
        "accepted": offer.terms,
        "payload": payload,
    }
    header = {"PAYMENT-SIGNATURE": encode(payment)}
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer: Answer | None = None
        try:
            answer = await send(session, order, header)
        except (ClientError, TimeoutError):
            pause = 1.0
        else:
            if answer.member("code") not in UNDECIDED:
                wallet = payload["authorization"]["from"]
                return Answer(answer.status, answer.headers, answer.body, f"wallet {wallet}")
            pause = seconds(answer.headers.get("Retry-After", ""))
        if time.monotonic() + pause > give_up:
            raise NotBought(undecided(answer))
        await asyncio.sleep(pause)


def seconds(retry_after: str) -> float:
    return min(float(retry_after), PAUSE_SECONDS_MAX) if retry_after.isdecimal() else 1.0


def undecided(answer: Answer | None) -> str:
    if answer is None:
        return "the payment was sent and the connection broke: look at the wallet before paying again"
    found = answer.member("transaction")
    where = f" in transaction {found}" if found else ""
    return f"the payment was sent and is not settled yet{where}: it may still be, so do not pay again"
