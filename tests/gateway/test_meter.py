from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import cast

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.kit import ids
from gateway.settle import Settled, settle_along
from gateway.tariffs import NOTHING_MEASURED, Tariff, Used
from gateway.types import Answer, Head, Hold, Metering, Outcome, Price, Receipt
from tests.gateway.conftest import USDC
from tests.waiting import until


@dataclass(slots=True)
class Kept:
    """A hold that remembers how it was closed."""

    metering: Metering
    posted: list[Used] = field(default_factory=list)
    keeper: None = None

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        self.posted.append(measured)
        return Receipt(ids.new(), "prepaid", 1, USDC)

    async def void(self, outcome: Outcome, status: int | None) -> None:
        raise AssertionError("it was served")


def kept(tariff: Tariff, seconds_max: float) -> Kept:
    price = Price(USDC, 9, ids.new(), is_prepaid_enabled=True, is_onchain_enabled=False, tariff=tariff)
    return Kept(Metering(price, tariff, 0, seconds_max, Receipt(ids.new(), "prepaid", None, USDC)))


def settle(hold: Kept, answer: Answer) -> AbstractAsyncContextManager[Settled]:
    along = settle_along(cast(Hold, hold), answer)
    assert along is not None
    return along


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 10


async def test_a_caller_who_stops_reading_is_charged_before_the_hold_expires() -> None:
    hold = kept(Tariff(), seconds_max=0.05)
    answer = Answer(Head(200, "OK", CIMultiDictProxy(CIMultiDict())), endless())
    async with settle(hold, answer) as settled:
        chunks = settled.answer.chunks
        assert await anext(chunks) == b"x" * 10
        assert hold.posted == []
        # The caller takes its time over what it has.
        await until(lambda: hold.posted)
        assert [used.byte_count for used in hold.posted] == [10]
        # And gets no more of what it was not charged for.
        try:
            await anext(chunks)
        except ConnectionAbortedError:
            pass
        else:
            raise AssertionError("it went on")
    assert len(hold.posted) == 1


async def test_the_last_byte_waits_for_the_charge() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    hold = kept(Tariff(), seconds_max=60)
    headers = CIMultiDictProxy(CIMultiDict({"Content-Length": "4"}))
    async with settle(hold, Answer(Head(200, "OK", headers), parts())) as settled:
        seen = [(chunk, len(hold.posted)) async for chunk in settled.answer.chunks]
    assert seen == [(b"ab", 0), (b"cd", 1)]
    assert len(hold.posted) == 1
