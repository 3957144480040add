"""Stage 7 of 9, after protect, before forward: set the money for a call aside.

A free call needs none. A payment in the request pays; otherwise the balance of the caller's organization
does; otherwise the answer is 402 and says how to pay. A call that was paid before, and comes again with the
same payment or the same key, is ``AnsweredBefore``. A hold left undecided is voided on every way out, so an
upstream that never answers cannot keep a caller's money; what a dead process leaves open expires, and the
sweeper voids it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.kit import tasks
from gateway.kit.problem import Refusal, Unauthorized
from gateway.metering.usage import Recorder
from gateway.rails import above_max, free
from gateway.rails.prepaid import PrepaidRail, Short
from gateway.rails.toll import TollRail
from gateway.rails.upfront import UpfrontRail
from gateway.rails.x402 import X402Rail
from gateway.types import Caller, Hold, Inbound, Match, Outcome, Quote

EITHER_WAY = "pay with x402, or send the API key of a funded organization"
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
    toll: TollRail


@asynccontextmanager
async def pay(
    till: Till, inbound: Inbound, caller: Caller, match: Match, quote: Quote
) -> AsyncIterator[Hold]:
    # To its end even when the call is cancelled: a hold must not be opened behind everybody's back.
    opened = await tasks.finish(set_aside(till, inbound, caller, match, quote), undo)
    outcome: Outcome = "abandoned"
    try:
        yield opened
    except Refusal as refusal:
        outcome = refusal.outcome or outcome
        if unserved := await tasks.finish(opened.void(outcome, None)):
            refusal.headers = {**refusal.headers, **unserved.headers}
        raise
    finally:
        # Void changes nothing once settle has decided.
        await tasks.finish(opened.void(outcome, None))


async def undo(opened: Hold) -> None:
    await opened.void("abandoned", None)


async def set_aside(till: Till, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> Hold:
    own = await hold(till, inbound, caller, match, quote)
    if inbound.upstream_payment is None:
        return own
    return await till.toll.over(own, inbound.upstream_payment, inbound, caller, match)


def is_for_members(match: Match) -> bool:
    return match.endpoint is not None and match.endpoint.is_for_anyone is False


async def hold(till: Till, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> Hold:
    if quote.is_free:
        if caller.organization_id is None and is_for_members(match):
            raise Unauthorized("this endpoint is free for callers with an API key")
        return free.hold(till.recorder, inbound, caller, match)
    if inbound.max_price is not None:
        quote = above_max.within(quote, inbound.max_price)
    if inbound.credentials.has_payment:
        if is_by_answer(quote):
            raise till.x402.challenge(inbound, match, quote).refuse("unsupported_scheme", BY_ANSWER)
        rail = till.upfront if match.is_upfront else till.x402
        return await rail.hold(inbound, caller, match, quote)
    challenge = till.x402.challenge(inbound, match, quote)
    if caller.organization_id is None:
        raise challenge.refuse("payment_required", BY_ANSWER if is_by_answer(quote) else EITHER_WAY)
    try:
        return await till.prepaid.hold(inbound, caller, match, quote)
    except Short as short:
        raise challenge.refuse("insufficient_funds", str(short), None, **short.members) from None


def is_by_answer(quote: Quote) -> bool:
    """Whether the cost is known only afterwards, in every asset that is taken."""
    return all(one.tariff is not None for one in quote.prices)
