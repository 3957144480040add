"""What a node is asked, and who waits for each of the answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from gateway.kit import values
from gateway.x402 import multicall, replies
from gateway.x402.facilitator import FacilitatorUnavailable

Request: TypeAlias = tuple[str, list[Any]]
"""A method and its parameters."""

ENCODER = msgspec.json.Encoder()


@values.dataclass(frozen=True, slots=True)
class Call:
    """What the EVM is to run as if it were sent now, by whomever: by itself, or in company."""

    sender: str
    to: str
    data: bytes
    gas: int
    is_reading: bool = False
    """Whether it leaves everything as it is."""

    @property
    def name(self) -> bytes:
        """Another one's for another call, and no JSON."""
        return self.to.encode() + self.data

    @property
    def request(self) -> Request:
        fields = {"to": self.to, "data": "0x" + self.data.hex(), "from": self.sender, "gas": hex(self.gas)}
        return "eth_call", [fields, "latest"]


@dataclass(slots=True, eq=False)
class Asker:
    """Somebody's questions: done when each has its answer, or one cannot be had."""

    done: "asyncio.Future[list[Any]]"
    results: list[Any]
    """See ``replies.result``."""
    missing: int

    def take(self, position: int, result: Any) -> None:
        self.results[position] = result
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(self.results)

    def expire(self) -> None:
        self.fail("the node does not answer: TimeoutError")

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(FacilitatorUnavailable(reason))


@dataclass(slots=True, eq=False)
class Question:
    name: bytes
    """The same for the same question."""
    request: Request | Call
    is_alone: bool = False
    """A call that in company failed: only by itself does it say why."""
    askers: list[tuple[Asker, int]] = field(default_factory=list)
    """Who asks, and in which place the answer is wanted."""

    def numbered(self, number: int) -> bytes:
        request = self.request
        return numbered(number, members(request.request) if isinstance(request, Call) else self.name)

    def answer(self, answer: object) -> "Sequence[Question]":
        """What is to be asked again: nothing. What is no answer fails this question only."""
        self.tell(replies.result(answer))
        return ()

    def tell(self, result: Any) -> None:
        for asker, position in self.askers:
            asker.take(position, result)

    def fail(self, reason: str) -> None:
        for asker, _ in self.askers:
            asker.fail(reason)


def name_of(request: Request | Call) -> bytes:
    return request.name if isinstance(request, Call) else members(request)


def members(request: Request) -> bytes:
    """Its method and parameters as JSON has them."""
    method, params = request
    return b'"method":"%b","params":%b' % (method.encode(), ENCODER.encode(params))


def numbered(number: int, text: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,%b}' % (number, text)


class Together:
    """Calls as one question: what Multicall3 would make of them, in which each may fail.

    Those that only read come first, before any other has changed something.
    """

    def __init__(self, calls: Sequence[tuple[Question, Call]], contract: str) -> None:
        self.calls = calls
        self.contract = contract

    def numbered(self, number: int) -> bytes:
        calls = [call for _, call in self.calls]
        data = multicall.aggregate_calls([(one.to, one.data) for one in calls])
        gas = sum(one.gas for one in calls)
        return numbered(number, members(Call(calls[0].sender, self.contract, data, gas).request))

    def answer(self, answer: object) -> Sequence[Question]:
        """Hand out what succeeded, and return what is to be asked by itself, to hear why it did not."""
        try:
            returned: Sequence[bytes | None] = multicall.results(returned_by(answer), len(self.calls))
        except ValueError:
            returned = [None] * len(self.calls)
        for (question, _), data in zip(self.calls, returned, strict=True):
            question.is_alone = data is None
            if data is not None:
                question.tell("0x" + data.hex())
        return [question for question, _ in self.calls if question.is_alone]

    def is_beyond_the_node(self, failed: Sequence[Question]) -> bool:
        """Whether not even a balance could be read, which is no payment's fault."""
        return len(failed) == len(self.calls) and any(call.is_reading for _, call in self.calls)


def returned_by(answer: object) -> bytes:
    found = replies.result(answer)
    if not isinstance(found, str) or not found.startswith("0x"):
        raise ValueError("this is not what a call returns")
    return bytes.fromhex(found[2:])


def in_company(batch: Sequence[Question], contract: str) -> "list[Question | Together]":
    """The batch, with those of its calls in one that can be in one.

    One call that changes something goes by itself: with nothing but readings beside it, it would have to be
    asked twice to say why it failed.
    """
    calls = [(one, one.request) for one in batch if isinstance(one.request, Call) and not one.is_alone]
    size = multicall.GAS_MAX // max((call.gas for _, call in calls), default=1)
    if size < 2 or sum(not call.is_reading for _, call in calls) < 2:
        return list(batch)
    calls.sort(key=lambda one: not one[1].is_reading)
    others = (one for one in batch if one.is_alone or not isinstance(one.request, Call))
    shares = (calls[start : start + size] for start in range(0, len(calls), size))
    return [*others, *(Together(share, contract) for share in shares)]
