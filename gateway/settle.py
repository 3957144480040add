"""Stage 9 of 9, after forward: charge what the call cost, once the upstream's head says that it was served.

A 2xx head is the result and is paid for, whatever becomes of its body. Where the body decides how much, it is
charged before its last byte is passed on. Anything but a 2xx costs nothing, and the reason goes into the
usage row.
"""

from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from gateway.kit import tasks
from gateway.kit.values import dataclass
from gateway.meter import Meter, Tell, nobody
from gateway.types import Answer, Head, Hold, Metering, Receipt

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settled:
    answer: Answer
    """What to pass on."""
    receipt: Receipt | None
    """None for an answer that is not charged, unless its payer has to be told more."""


class AtOnce:
    """A call whose head decides what it costs, and whose answer nobody copies on its way."""

    __slots__ = ("answer", "hold")

    def __init__(self, hold: Hold, answer: Answer) -> None:
        self.hold, self.answer = hold, answer

    async def __aenter__(self) -> Settled:
        hold, head = self.hold, self.answer.head
        closing = hold.post(head) if head.is_success else hold.void("upstream_refused", head.status)
        return Settled(self.answer, await closed(hold, closing))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing left to be done."""


def settle(hold: Hold, answer: Answer, tell: Tell = nobody) -> AbstractAsyncContextManager[Settled]:
    """``tell`` hears what was charged when that is known later than the head."""
    if not answer.head.is_success:
        return AtOnce(hold, answer)
    if hold.metering is not None:
        return metered(hold, hold.metering, answer, tell)
    copying = None if hold.keeper is None else hold.keeper(answer)
    return AtOnce(hold, answer) if copying is None else copied(hold, answer.head, copying)


@asynccontextmanager
async def copied(
    hold: Hold, head: Head, copying: AbstractAsyncContextManager[Answer]
) -> AsyncIterator[Settled]:
    # A copy is read while a payment settles, so that it is there when the payment's end is not seen.
    async with copying as passed:
        yield Settled(passed, await closed(hold, hold.post(head)))


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


def closed(hold: Hold, closing: Coroutine[Any, Any, T]) -> Awaitable[T]:
    """A hold is closed to the end, whatever becomes of its call."""
    return closing if hold.is_steady else tasks.finish(closing)
