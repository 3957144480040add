"""A call that is paid for twice: a publisher's own upstream asks for money, and the gateway for its fee."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession
from eth_account import Account

from control.agent.calls import Answer, NotBought, Order, deliver
from control.agent.offers import Offer, Symbols, offers_in, signed, text
from gateway.kit.money import to_text

CODE = "upstream-payment-required"
HEADER = "X-PAYMENT-UPSTREAM"


@dataclass(frozen=True, slots=True)
class Pair:
    """One way to pay both."""

    upstream: Offer
    required: Mapping[str, Any]
    """The upstream's words: a payment repeats what it is for."""
    fee: Offer | None

    @property
    def total(self) -> int:
        return self.upstream.amount + (self.fee.amount if self.fee else 0)


def pairs(asked: Answer, fees: Sequence[Offer], known: Symbols) -> Sequence[Pair]:
    """What the upstream takes that this client can sign, each with the fee that the gateway takes for it."""
    try:
        theirs = [
            (one, offer)
            for one in asked.member("upstream_offers") or ()
            if one["x402Version"] == 2
            for offer in offers_in(one, known)
        ]
        listed = asked.member("gateway_fees") or ()
        found = [(one, offer, fee_of(listed, fees, offer)) for one, offer in theirs]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NotBought("it passes on an upstream's offers that make no sense; nothing was paid") from None
    return [Pair(offer, one, fee) for one, offer, fee in found if fee is not None or not listed]


def fee_of(listed: Sequence[Mapping[str, Any]], fees: Sequence[Offer], upstream: Offer) -> Offer | None:
    wanted = {
        (one["network"], str(one["fee_atomic"]))
        for one in listed
        if one["upstream_network"] == upstream.network
        and str(one["upstream_asset"]).lower() == upstream.terms["asset"].lower()
        and str(one["upstream_amount"]) == str(upstream.amount)
    }
    return next((one for one in fees if (one.network, str(one.amount)) in wanted), None)


def price(pair: Pair, order: Order) -> str:
    upstream = f"{text(pair.upstream, order)} for its upstream"
    if pair.fee is None:
        return f"{upstream}, and no fee"
    both = f"{upstream}, and {text(pair.fee, order)} for the gateway"
    if pair.fee.token != pair.upstream.token:
        return both
    return f"{both}: {to_text(pair.total, order.decimals)} {pair.fee.token} in all"


async def buy(
    session: ClientSession, order: Order, asked: Answer, fees: tuple[Mapping[str, Any], Sequence[Offer]],
    known: Symbols, tell: Callable[[str], None], *, is_dry_run: bool,
) -> Answer | None:  # fmt: skip
    """Pay both in one call. ``fees`` is what the gateway asks for itself."""
    required, offers = fees
    found = pairs(asked, offers, known)
    for pair in found:
        tell(f"price: {price(pair, order)}")
    if not found:
        raise NotBought("its upstream asks for a payment that this client cannot sign; nothing was paid")
    payer = None if order.private_key is None else Account.from_key(order.private_key).address
    tell(
        f"from: wallet {payer}"
        if payer
        else "from: nothing: an upstream is paid from a wallet, and none is set"
    )
    if is_dry_run:
        return None
    if order.private_key is None:
        raise NotBought("its upstream is paid from a wallet: set FAREBOX_PAY_KEY; nothing was paid")
    return await pay(session, order, affordable(found, order), required, tell)


async def pay(
    session: ClientSession, order: Order, pair: Pair, required: Mapping[str, Any],
    tell: Callable[[str], None],
) -> Answer:  # fmt: skip
    """The fee comes from the balance if that has it, and else from the wallet, which pays the upstream."""
    assert order.private_key is not None, "it was just looked at"
    upstream, payer = signed(order.private_key, pair.required, pair.upstream)
    payments = {HEADER: upstream}
    # What the fee is paid from, if there is one.
    wallet = f"wallet {payer}" if pair.fee is not None else ""
    token, theirs = pair.fee.token if pair.fee else "", pair.upstream.token
    if order.api_key is not None and pair.fee is not None:
        paid = await deliver(
            session, order, {**payments, **order.bearer}, "balance", token=token, token_upstream=theirs
        )
        # The fee is taken before the upstream is asked: without it neither payment was.
        if paid.status != 402 or paid.member("code") == CODE:
            return paid
        tell(f"the balance does not pay the fee: {paid.detail}")
    if pair.fee is not None:
        payments["PAYMENT-SIGNATURE"], _ = signed(order.private_key, required, pair.fee)
    return await deliver(session, order, payments, wallet, token=token, token_upstream=theirs)


def affordable(found: Sequence[Pair], order: Order) -> Pair:
    most = order.price_max
    for pair in found:
        if most is None or pair.total <= most:
            return pair
    raise NotBought(f"the price is {price(found[0], order)}, more than --max-price allows; nothing was paid")
