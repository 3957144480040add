"""Stage 9 of 9, after forward: charge what the call cost, once the upstream's head says that it was served.

A 2xx head is the result and is paid for, whatever becomes of its body. Where the body decides how much, it is
charged before its last byte is passed on. Anything but a 2xx costs nothing, and the reason goes into the
usage row.
"""

from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gateway.kit import tasks
from gateway.meter import Meter, Tell, nobody
from gateway.types import Answer, Hold, Receipt

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settled:
    answer: Answer
    """What to pass on."""
    receipt: Receipt | None
    """None for an answer that is not charged, unless its payer has to be told more."""


@asynccontextmanager
async def settle(hold: Hold, answer: Answer, tell: Tell = nobody) -> AsyncIterator[Settled]:
    """``tell`` hears what was charged when that is known later than the head."""
    head, metering = answer.head, hold.metering
    if not head.is_success:
        yield Settled(answer, await closed(hold, hold.void("upstream_refused", head.status)))
    elif metering is None:
        # A copy is read while a payment settles, so that it is there when the payment's end is not seen.
        async with copied(hold, answer) as passed:
            yield Settled(passed, await closed(hold, hold.post(head)))
    else:
        meter = Meter(hold, metering, answer, tell)
        try:
            # The copy is of what was metered: who hangs up and asks again has paid for the whole of it.
            async with copied(hold, replace(answer, chunks=meter.chunks())) as passed:
                yield Settled(passed, metering.receipt)
        finally:
            await tasks.finish(meter.close())


def closed(hold: Hold, closing: Coroutine[Any, Any, T]) -> Awaitable[T]:
    """A hold is closed to the end, whatever becomes of its call."""
    return closing if hold.is_steady else tasks.finish(closing)


def copied(hold: Hold, answer: Answer) -> AbstractAsyncContextManager[Answer]:
    return nullcontext(answer) if hold.keeper is None else hold.keeper(answer)
