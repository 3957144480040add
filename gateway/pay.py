"""Stage 7 of 9, after protect, before forward: set the money for a call aside.

A free call needs none. A payment in the request pays; otherwise the balance of the caller's organization
does; otherwise the answer is 402 and says how to pay. A call that was paid before, and comes again with the
same payment or the same key, is ``AnsweredBefore``. A hold left undecided is voided on every way out, so an
upstream that never answers cannot keep a caller's money; what a dead process leaves open expires, and the
sweeper voids it.
"""

from dataclasses import dataclass, field

from gateway.kit import tasks
from gateway.kit.problem import Refusal, Unauthorized
from gateway.metering.usage import Recorder
from gateway.rails import above_max, free
from gateway.rails.passthrough import PassthroughRail
from gateway.rails.prepaid import PrepaidRail, Short
from gateway.rails.upfront import UpfrontRail
from gateway.rails.x402 import X402Rail
from gateway.types import Caller, Hold, Inbound, Match, Outcome, Quote, Route
from gateway.x402.offers import PaymentRequired

EITHER_WAY = "pay with x402, or send the API key of a funded organization"
# What is remembered of unpaid calls, which strangers make.
URLS_MAX, URL_CHARACTERS_MAX = 1024, 512
BY_ANSWER = (
    "what this call costs is known from its answer only, so it is sold from a balance and not for an x402 "
    "payment, which signs the price beforehand: send the API key of a funded organization"
)


@dataclass(frozen=True, slots=True)
class Till:
    """The ways to pay."""

    prepaid: PrepaidRail
    x402: X402Rail
    upfront: UpfrontRail
    recorder: Recorder
    passthrough: PassthroughRail
    asked: dict[tuple[str, str], tuple[Route, PaymentRequired]] = field(default_factory=dict)
    """What strangers were told of a method and a URL, as long as the publisher is published so."""


async def pay(till: Till, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> Hold:
    """Whoever gets it leaves by ``give_back``, on every way out, unless it is closed."""
    if inbound.upstream_payment is not None:
        return await hold_both(till, inbound, caller, match, quote)
    if not quote.prices:
        return for_nothing(till, inbound, caller, match)
    return await hold(till, inbound, caller, match, quote)


async def give_back(hold: Hold, error: BaseException | None) -> None:
    """What nobody decided about, because of that."""
    refusal = error if isinstance(error, Refusal) else None
    outcome: Outcome = (refusal.outcome if refusal is not None else None) or "abandoned"
    unserved = await tasks.finish(hold.void(outcome, None))
    if refusal is not None and unserved is not None:
        refusal.headers = {**refusal.headers, **unserved.headers}


async def undo(opened: Hold) -> None:
    await opened.void("abandoned", None)


async def hold_both(till: Till, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> Hold:
    """The gateway's fee, and the payment that goes on to the upstream."""
    # Here too: between one and the other a cancelled call would leave the fee behind.
    return await tasks.finish(fee_first(till, inbound, caller, match, quote), undo)


async def fee_first(till: Till, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> Hold:
    assert inbound.upstream_payment is not None, "asked only for calls that have one"
    fee = await hold(till, inbound, caller, match, quote)
    return await till.passthrough.over(fee, inbound.upstream_payment, inbound, caller, match)


def for_nothing(till: Till, inbound: Inbound, caller: Caller, match: Match) -> Hold:
    endpoint = match.endpoint
    if endpoint is not None and endpoint.is_for_anyone is False and caller.organization_id is None:
        raise Unauthorized("this endpoint is free for callers with an API key")
    return free.FreeHold(till.recorder, inbound, caller, match)


# Each rail sees to it that no hold stays open for a call that is cancelled meanwhile.
async def hold(till: Till, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> Hold:
    if quote.is_free:
        return for_nothing(till, inbound, caller, match)
    if inbound.max_price is not None:
        quote = above_max.within(quote, inbound.max_price)
    if inbound.credentials.has_payment:
        if is_by_answer(quote):
            raise till.x402.challenge(inbound, match, quote).refuse("unsupported_scheme", BY_ANSWER)
        rail = till.upfront if match.is_upfront else till.x402
        return await rail.hold(inbound, caller, match, quote)
    if caller.organization_id is None:
        raise unpaid(till, inbound, match, quote)
    if (drawn := till.prepaid.draw(inbound, caller, match, quote)) is not None:
        return drawn
    try:
        return await till.prepaid.hold(inbound, caller, match, quote)
    except Short as short:
        challenge = till.x402.challenge(inbound, match, quote)
        raise challenge.refuse("insufficient_funds", str(short), None, **short.members) from None


def unpaid(till: Till, inbound: Inbound, match: Match, quote: Quote) -> PaymentRequired:
    """What a stranger is told, which is made once for all who ask the same."""
    route, asked = match.route, (inbound.method, inbound.url)
    # What a query costs is in its body.
    is_usual = (
        inbound.max_price is None
        and not inbound.is_websocket
        and route.passthrough is None
        and inbound.question is None
    )
    known = till.asked.get(asked) if is_usual else None
    if known is not None and known[0] is route:
        return known[1].again()
    why = BY_ANSWER if is_by_answer(quote) else EITHER_WAY
    refusal = till.x402.challenge(inbound, match, quote).refuse("payment_required", why)
    if is_usual and len(inbound.url) <= URL_CHARACTERS_MAX:
        if len(till.asked) >= URLS_MAX:
            till.asked.clear()
        till.asked[asked] = route, refusal.kept()
    return refusal


def is_by_answer(quote: Quote) -> bool:
    """Whether the cost is known only afterwards, in every asset that is taken."""
    return all(one.tariff is not None and not one.is_onchain_enabled for one in quote.prices)
