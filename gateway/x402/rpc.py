"""JSON-RPC to a node: what many calls ask at a time goes out together, over connections that are kept.

A batch starts as soon as a lane is free and enough of the crowd is in it, or has had its time to come: so a
lone question does not wait for company and a crowd shares one request. A question that is waiting already is
not asked twice: it has not been answered, so its answer will be as fresh for whoever comes later.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.kit.groups import Crowd
from gateway.kit.later import Later
from gateway.kit.tasks import Crew
from gateway.upstreams.deadlines import Deadlines
from gateway.x402.endpoint import Endpoint, Unanswered
from gateway.x402.questions import Asker, Call, Question, Request, Together, in_company, name_of

TIMEOUT_SECONDS = 10
HEADERS = {"Content-Type": "application/json"}
ANSWER_BYTES_MAX = 1 << 26

# As many requests under way at once. One that a node is slow with leaves the others free.
LANES = 4
# While less than its share of the crowd is in a request, it waits for as long as the node takes for one,
# within these bounds: each costs the node, and us, the same.
COMPANY_SECONDS_MIN, COMPANY_SECONDS_MAX = 0.002, 0.005
# Hosted nodes allow from a hundred to a thousand; one that allows fewer is found out.
BATCH_MAX = 100
# So long calls are not run together once a node did not.
APART_SECONDS = 60

UNANSWERED = Unanswered, ValueError, msgspec.MsgspecError, RecursionError
# What a node says instead of reading a batch, with an error of its own or with none.
TOO_MUCH = (400, 413)


class BatchRefused(Exception):
    """The node did not take the questions together; perhaps it takes fewer at once."""


class Node:
    """``FacilitatorUnavailable`` comes out of ``ask`` when it does not answer, or answers nonsense."""

    def __init__(self, url: str, crowd: Crowd | None = None) -> None:
        self.crowd = crowd or Crowd()
        self.endpoint = Endpoint(url, HEADERS, TIMEOUT_SECONDS, ANSWER_BYTES_MAX)
        self.waiting: dict[bytes, Question] = {}
        self.askers = 0
        """Who have come since the last batch …"""
        self.is_due = False
        """… and whether one of them is many."""
        self.lanes_free = LANES
        self.size_max = BATCH_MAX
        self.number = 0
        self.is_scheduled = False
        self.patience = Later(self.go)
        self.crew = Crew()
        self.answer_seconds = 0.0
        """How long the node takes for a request, of late."""
        self.multicall: str | None = None
        """Of the contract that runs calls together, where there is one."""
        self.apart_until = 0.0
        self.deadlines = Deadlines(TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Whoever still waits is told that there will be no answer."""
        self.patience.cancel()
        self.deadlines.close()
        waiting, self.waiting = self.waiting, {}
        for question in waiting.values():
            question.fail("the node is asked no more")
        await self.crew.close()
        await self.endpoint.close()

    async def ask(self, requests: Sequence[Request | Call], *, is_waited_for: bool = False) -> list[Any]:
        """Return each request's result in its place; see ``replies.result``.

        Company is not waited for where so many wait for the answer already (``is_waited_for``).
        """
        loop = asyncio.get_running_loop()
        asker = Asker(loop.create_future(), [None] * len(requests), len(requests))
        for position, request in enumerate(requests):
            name = name_of(request)
            question = self.waiting.get(name)
            if question is None:
                question = self.waiting[name] = Question(name, request)
            question.askers.append((asker, position))
        self.askers += 1
        self.is_due = self.is_due or is_waited_for
        self.crowd.count += 1
        if self.lanes_free and not self.is_scheduled:
            # At the end of this tick of the loop, when everybody who is ready now has asked.
            self.is_scheduled = True
            loop.call_soon(self.kick)
        self.deadlines.start(asker)
        try:
            return await asker.done
        finally:
            self.deadlines.stop(asker)
            self.crowd.count -= 1

    def kick(self) -> None:
        """Ask, unless there is company to wait for: one question costs the same request as fifty."""
        self.is_scheduled = False
        if not (self.waiting and self.lanes_free):
            return
        if self.is_due or len(self.waiting) >= self.size_max or self.askers >= self.crowd.share():
            self.go()
        else:
            self.patience.within(min(max(self.answer_seconds, COMPANY_SECONDS_MIN), COMPANY_SECONDS_MAX))

    def go(self) -> None:
        self.patience.cancel()
        self.askers, self.is_due = 0, False
        while self.waiting and self.lanes_free:
            names = list(self.waiting)[: self.size_max]
            batch = [self.waiting.pop(name) for name in names]
            self.lanes_free -= 1
            self.crew.start(self.carry(batch))

    async def carry(self, batch: Sequence[Question]) -> None:
        began = time.monotonic()
        try:
            await self.put(batch)
        finally:
            self.answer_seconds += (time.monotonic() - began - self.answer_seconds) / 8
            self.lanes_free += 1
            if self.waiting and not self.is_scheduled:
                self.kick()

    async def put(self, batch: Sequence[Question]) -> None:
        """Ask, and hand out what is answered."""
        asked = self.in_company(batch)
        first = self.number
        self.number += len(asked)
        numbered = [one.numbered(first + place) for place, one in enumerate(asked)]
        try:
            answers = await self.post(numbered, is_divisible=len(batch) > 1)
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
        self.hand_out(asked, {number_of(one): one for one in answers}, first)

    def hand_out(
        self, asked: Sequence[Question | Together], answers: Mapping[int | None, object], first: int
    ) -> None:
        for place, one in enumerate(asked):
            again = one.answer(answers.get(first + place))
            if isinstance(one, Together) and one.is_beyond_the_node(again):
                self.apart_until = time.monotonic() + APART_SECONDS
            if again:
                self.requeue(again)

    def in_company(self, batch: Sequence[Question]) -> Sequence[Question | Together]:
        if self.multicall is None or time.monotonic() < self.apart_until:
            return batch
        return in_company(batch, self.multicall)

    def requeue(self, batch: Sequence[Question]) -> None:
        """Before all others."""
        later, self.waiting = self.waiting, {question.name: question for question in batch}
        for name, question in later.items():
            if (same := self.waiting.get(name)) is not None:
                same.askers += question.askers
            else:
                self.waiting[name] = question

    async def post(self, numbered: Sequence[bytes], *, is_divisible: bool) -> list[Any]:
        # One question goes without the brackets of a batch: some nodes read no others.
        is_batch = len(numbered) > 1
        body = b"[%b]" % b",".join(numbered) if is_batch else numbered[0]
        status, text = await self.endpoint.ask("POST", body)
        if is_divisible and status in TOO_MUCH:
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
