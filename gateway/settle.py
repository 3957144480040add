"""Stage 9 of 9, after forward: charge what the call cost, once the upstream's head says that it was served.

A 2xx head is the result and is paid for, whatever becomes of its body. Where the body decides how much, it is
charged before its last byte is passed on. Anything but a 2xx costs nothing, and the reason goes into the
usage row.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace

from gateway.kit import tasks
from gateway.kit.values import dataclass
from gateway.meter import Meter, Tell, nobody
from gateway.types import Answer, Head, Hold, Metering, Receipt


@dataclass(frozen=True, slots=True)
class Settled:
    answer: Answer
    """What to pass on."""
    receipt: Receipt | None
    """None for an answer that is not charged, unless its payer has to be told more."""


async def settle(hold: Hold, head: Head) -> Receipt | None:
    """For an answer whose head decides what the call costs, and which nobody copies on its way."""
    closing = hold.post(head) if head.is_success else hold.void("upstream_refused", head.status)
    # A hold is closed to the end, whatever becomes of its call.
    return await (closing if hold.is_steady else tasks.finish(closing))


def settle_along(
    hold: Hold, answer: Answer, tell: Tell = nobody
) -> AbstractAsyncContextManager[Settled] | None:
    """To be entered for an answer that is metered or copied until its end; None for any other. ``tell`` hears
    what was charged when that is known later than the head.
    """
    if not answer.head.is_success:
        return None
    if hold.metering is not None:
        return metered(hold, hold.metering, answer, tell)
    copying = None if hold.keeper is None else hold.keeper(answer)
    return None if copying is None else copied(hold, answer.head, copying)


@asynccontextmanager
async def copied(
    hold: Hold, head: Head, copying: AbstractAsyncContextManager[Answer]
) -> AsyncIterator[Settled]:
    # A copy is read while a payment settles, so that it is there when the payment's end is not seen.
    async with copying as passed:
        yield Settled(passed, await settle(hold, head))


@asynccontextmanager
async def metered(hold: Hold, metering: Metering, answer: Answer, tell: Tell) -> AsyncIterator[Settled]:
    meter = Meter(hold, metering, answer, tell)
    counted = replace(answer, chunks=meter.chunks())
    # The copy is of what was metered: who hangs up and asks again has paid for the whole of it.
    copying = None if hold.keeper is None else hold.keeper(counted)
    try:
        async with copying or nullcontext(counted) as passed:
            yield Settled(passed, metering.receipt)
    finally:
        await tasks.finish(meter.close())
