"""JSON-RPC to a node: what many calls ask at a time goes out together, over connections that are kept.

A batch starts as soon as a lane is free and enough of the crowd is in it, or has had its time to come: so a
lone question does not wait for company and a crowd shares one request. A question that is waiting already is
not asked twice: it has not been answered, so its answer will be as fresh for whoever comes later.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from gateway.kit.groups import Crowd
from gateway.kit.later import Later
from gateway.kit.tasks import Crew
from gateway.x402.endpoint import Endpoint, Unanswered
from gateway.x402.facilitator import FacilitatorUnavailable

Request: TypeAlias = tuple[str, list[Any]]
"""A method and its parameters."""

ENCODER = msgspec.json.Encoder()
TIMEOUT_SECONDS = 10
HEADERS = {"Content-Type": "application/json"}
ANSWER_BYTES_MAX = 1 << 26

# As many requests under way at once. One that a node is slow with leaves the others free.
LANES = 4
# So long a request waits while less than half of the crowd is in it: each costs the node, and us, the same.
COMPANY_SECONDS = 0.002
# Hosted nodes allow from a hundred to a thousand; one that allows fewer is found out.
BATCH_MAX = 100

UNANSWERED = Unanswered, ValueError, msgspec.MsgspecError, RecursionError
# What a node says instead of reading a batch, with an error of its own or with none.
TOO_MUCH = (400, 413)


class BatchRefused(Exception):
    """The node did not take the questions together; perhaps it takes fewer at once."""


@dataclass(slots=True, eq=False)
class Asker:
    """Somebody's questions: done when each has its answer, or one cannot be had."""

    done: "asyncio.Future[list[dict[str, Any]]]"
    answers: list[dict[str, Any]]
    missing: int

    def take(self, position: int, answer: dict[str, Any]) -> None:
        self.answers[position] = answer
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(self.answers)

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(FacilitatorUnavailable(reason))


@dataclass(slots=True, eq=False)
class Question:
    text: bytes
    """Its method and parameters as JSON members."""
    askers: list[tuple[Asker, int]] = field(default_factory=list)
    """Who asks, and in which place the answer is wanted."""

    def numbered(self, number: int) -> bytes:
        return b'{"jsonrpc":"2.0","id":%d,%b}' % (number, self.text)

    def answer(self, answer: object) -> None:
        """What is no answer fails this question only, when somebody looks for the result in it."""
        for asker, position in self.askers:
            asker.take(position, answer if isinstance(answer, dict) else {})

    def fail(self, reason: str) -> None:
        for asker, _ in self.askers:
            asker.fail(reason)


class Node:
    """``FacilitatorUnavailable`` comes out of ``ask`` when it does not answer, or answers nonsense."""

    def __init__(self, url: str, crowd: Crowd | None = None) -> None:
        self.crowd = crowd or Crowd()
        self.endpoint = Endpoint(url, HEADERS, TIMEOUT_SECONDS, ANSWER_BYTES_MAX)
        self.waiting: dict[bytes, Question] = {}
        self.askers = 0
        """Who have come since the last batch."""
        self.lanes_free = LANES
        self.size_max = BATCH_MAX
        self.number = 0
        self.is_scheduled = False
        self.patience = Later(self.go)
        self.crew = Crew()

    async def close(self) -> None:
        """Whoever still waits is told that there will be no answer."""
        self.patience.cancel()
        waiting, self.waiting = self.waiting, {}
        for question in waiting.values():
            question.fail("the node is asked no more")
        await self.crew.close()
        await self.endpoint.close()

    async def ask(self, requests: Sequence[Request]) -> list[dict[str, Any]]:
        """Return each request's answer in its place: the JSON object that has its number."""
        loop = asyncio.get_running_loop()
        asker = Asker(loop.create_future(), [{}] * len(requests), len(requests))
        for position, (method, params) in enumerate(requests):
            text = b'"method":"%b","params":%b' % (method.encode(), ENCODER.encode(params))
            question = self.waiting.get(text)
            if question is None:
                question = self.waiting[text] = Question(text)
            question.askers.append((asker, position))
        self.askers += 1
        self.crowd.count += 1
        if self.lanes_free and not self.is_scheduled:
            # At the end of this tick of the loop, when everybody who is ready now has asked.
            self.is_scheduled = True
            loop.call_soon(self.kick)
        # A timer of its own costs a fifth of what a timeout's block does.
        patience = loop.call_later(TIMEOUT_SECONDS, asker.fail, "the node does not answer: TimeoutError")
        try:
            return await asker.done
        finally:
            patience.cancel()
            self.crowd.count -= 1

    def kick(self) -> None:
        """Ask, unless there is company to wait for: one question costs the same request as fifty."""
        self.is_scheduled = False
        if not (self.waiting and self.lanes_free):
            return
        if len(self.waiting) >= self.size_max or self.askers >= self.crowd.half():
            self.go()
        else:
            self.patience.within(COMPANY_SECONDS)

    def go(self) -> None:
        self.patience.cancel()
        self.askers = 0
        while self.waiting and self.lanes_free:
            texts = list(self.waiting)[: self.size_max]
            batch = [self.waiting.pop(text) for text in texts]
            self.lanes_free -= 1
            self.crew.start(self.carry(batch))

    async def carry(self, batch: Sequence[Question]) -> None:
        try:
            await self.put(batch)
        finally:
            self.lanes_free += 1
            if self.waiting and not self.is_scheduled:
                self.kick()

    async def put(self, batch: Sequence[Question]) -> None:
        """Ask, and hand out what is answered."""
        first = self.number
        self.number += len(batch)
        numbered = [question.numbered(first + place) for place, question in enumerate(batch)]
        try:
            answers = await self.post(numbered)
        except BatchRefused:
            self.size_max = max(len(batch) // 2, 1)
            self.requeue(batch)
            return
        except asyncio.CancelledError:
            for question in batch:
                question.fail("the node is asked no more")
            raise
        except UNANSWERED as error:
            for question in batch:
                question.fail(f"the node does not answer: {kind(error)}")
            return
        if len(batch) == self.size_max < BATCH_MAX:
            # It may have been short of breath.
            self.size_max += 1
        by_number = {number_of(one): one for one in answers}
        for place, question in enumerate(batch):
            question.answer(by_number.get(first + place))

    def requeue(self, batch: Sequence[Question]) -> None:
        """Before all others, in smaller batches."""
        later, self.waiting = self.waiting, {question.text: question for question in batch}
        for text, question in later.items():
            if (same := self.waiting.get(text)) is not None:
                same.askers += question.askers
            else:
                self.waiting[text] = question

    async def post(self, numbered: Sequence[bytes]) -> list[Any]:
        # One question goes without the brackets of a batch: some nodes read no others.
        is_batch = len(numbered) > 1
        body = b"[%b]" % b",".join(numbered) if is_batch else numbered[0]
        status, text = await self.endpoint.ask("POST", body)
        if is_batch and status in TOO_MUCH:
            raise BatchRefused
        if status != 200:
            raise Unanswered(f"status {status}")
        answer = msgspec.json.decode(text)
        if not is_batch:
            return [answer]
        if isinstance(answer, dict) and "error" in answer:
            raise BatchRefused
        if not isinstance(answer, list):
            raise ValueError("neither answers nor an error")
        return answer


def number_of(answer: object) -> int | None:
    number = answer.get("id") if isinstance(answer, dict) else None
    # True is 1 as the key of a dict, and no number of ours.
    return number if type(number) is int else None


def kind(error: Exception) -> str:
    return str(error) if isinstance(error, Unanswered) else type(error).__name__
