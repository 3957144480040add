"""One call, bought: ask what it costs, decide, pay once, and keep the receipt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import ClientError, ClientSession
from eth_account import Account
from yarl import URL

from control.agent import calls, offers, resale
from control.agent.calls import Answer, NotBought, Order
from control.agent.offers import Offer, prices_above_max
from gateway.kit.money import to_text

__all__ = ["Answer", "NotBought", "Order", "buy"]


async def buy(
    session: ClientSession, order: Order, tell: Callable[[str], None], *, is_dry_run: bool
) -> Answer | None:
    """None for a dry run that met a price. ``tell`` hears the price and what it is paid from."""
    asked = await calls.send(session, order, {})
    if asked.status == 401 and order.api_key is not None:
        return await buy_known(session, order, tell, is_dry_run=is_dry_run)
    if asked.status != 402:
        return asked
    known = await offers.symbols(session, order)
    required, found = offers.read(asked, known)
    if asked.member("code") == resale.CODE:
        fees = required, found
        return await resale.buy(session, order, asked, fees, known, tell, is_dry_run=is_dry_run)
    await tell_all(session, order, found, tell)
    if is_dry_run:
        return None
    if order.api_key is not None:
        paid = await pay_from_balance(session, order, found)
        if paid.status != 402 or order.private_key is None:
            return paid
        tell(f"the balance does not pay: {paid.detail}")
        required, found = offers.read(paid, known)
    return await pay_from_wallet(session, order, required, found)


async def buy_known(
    session: ClientSession, order: Order, tell: Callable[[str], None], *, is_dry_run: bool
) -> Answer | None:
    """What is free, or sold from a balance, to callers with a key only."""
    # For nothing, or this would buy it already.
    asked = await calls.send(session, order, {**order.bearer, "X-Max-Price": "0"})
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


async def pay_from_balance(session: ClientSession, order: Order, found: Sequence[Offer]) -> Answer:
    # The gateway takes whichever of the prices the balance covers, so the dearest counts.
    refuse_if_dear(order, found, max)
    return await from_balance(session, order)


async def from_balance(session: ClientSession, order: Order) -> Answer:
    try:
        paid = await calls.send(session, order, order.bearer)
    except (ClientError, TimeoutError):
        raise NotBought("the connection broke; /wallet/transactions says whether it was paid") from None
    return replace(paid, paid_from="balance")


async def tell_all(
    session: ClientSession, order: Order, found: Sequence[Offer], tell: Callable[[str], None]
) -> None:
    for offer in found:
        tell(f"price: {offers.text(offer, order)}")
    if not found:
        tell("price: not said, because it is not sold for payment on chain")
    if order.api_key is not None:
        tell(f"from: balance, {await balance(session, order)}")
    if order.private_key is not None:
        prefix = "from:" if order.api_key is None else "else from:"
        tell(f"{prefix} wallet {Account.from_key(order.private_key).address}")
    if order.api_key is None and order.private_key is None:
        tell("from: nothing, neither a key nor a wallet is set")


async def balance(session: ClientSession, order: Order) -> str:
    url = URL(order.url).origin() / "wallet" / "balance"
    async with session.get(url, headers=order.bearer, allow_redirects=False) as response:
        found = Answer(response.status, response.headers, await response.read())
    data = found.member("data")
    if not found.is_good or not isinstance(data, dict):
        return "which cannot be read with this key"
    assets = data.get("assets") or []
    has = [f"{to_text(one['available_atomic'], one['decimals'])} {one['symbol']}" for one in assets]
    return " and ".join(has) + " available" if has else "empty"


def refuse_if_dear(order: Order, found: Sequence[Offer], which: Callable[..., Offer]) -> None:
    if order.price_max is None:
        return
    if not found:
        raise NotBought("the price is not said, so --max-price cannot be kept; nothing was paid")
    dearest = which(found, key=lambda one: one.amount)
    if dearest.amount > order.price_max:
        price = f"{to_text(dearest.amount, order.decimals)} {dearest.token}"
        raise NotBought(f"the price is {price}, more than --max-price allows; nothing was paid")


async def pay_from_wallet(
    session: ClientSession, order: Order, required: Mapping[str, Any], found: Sequence[Offer]
) -> Answer:
    if order.private_key is None:
        raise NotBought("set FAREBOX_API_KEY to pay from a balance, or FAREBOX_PAY_KEY to pay from a wallet")
    if not found:
        raise NotBought("it offers no way to pay that this client knows; nothing was paid")
    refuse_if_dear(order, found, min)
    offer = next(one for one in found if order.price_max is None or one.amount <= order.price_max)
    header, payer = offers.signed(order.private_key, required, offer)
    payments = {"PAYMENT-SIGNATURE": header}
    return await calls.deliver(session, order, payments, f"wallet {payer}", token=offer.token)
