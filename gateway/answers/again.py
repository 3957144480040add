"""A call that comes again: how it is recognised, and what it is told while there is nothing to give yet."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from uuid import UUID

from gateway.answers.store import Omitted
from gateway.kit.addresses import unit_of
from gateway.kit.problem import Problem, Refusal
from gateway.types import Answer, Caller, Inbound, Match, Receipt

REPLAYED = "Idempotent-Replayed"

# How long one call waits for the answer to another, and how it asks: soon at first.
WAIT_SECONDS = 2.0
PAUSE_SECONDS_MIN = 0.03
PAUSE_SECONDS_MAX = 0.4


class AnsweredBefore(Exception):
    """Not refused and not sent upstream either: here is what was answered the first time."""

    def __init__(self, answer: Answer, receipt: Receipt) -> None:
        super().__init__(f"call {receipt.call_id} was answered before")
        self.answer, self.receipt = answer, receipt


class KeyReused(Refusal):
    status, slug, title = 409, "idempotency-key-reused", "The idempotency key belongs to another request"


class CallInProgress(Refusal):
    status, slug, title = 409, "call-in-progress", "The call is being made"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class AnswerNotKept(Refusal):
    status, slug, title = 409, "answer-not-kept", "The call was made and its answer was not kept"

    def __init__(self, call_id: UUID, omitted: Omitted | None, paid: str) -> None:
        why = {
            "too_large": "its answer was too large to be kept",
            "cut_short": "its answer broke off before it was whole",
            None: "its answer is not there any more",
        }[omitted]
        super().__init__(
            f"call {call_id} was made, {why}, and it was charged {paid} once; it is not made again. "
            "Make a new call if you need the answer"
        )
        self.members = {"call_id": str(call_id), "reason": omitted or "gone", "charged": paid}

    def problem(self) -> Problem:
        return super().problem().model_copy(update=self.members)


async def fingerprint(inbound: Inbound, match: Match) -> bytes:
    """SHA-256 of what a call is: its method, publisher, upstream URL with the query, and body."""
    body = inbound.body.here()
    digest = await inbound.body.digest() if body is None else hashlib.sha256(body).digest()
    parts = inbound.method.encode(), match.route.publisher_id.bytes, match.url.encode(), digest
    return hashlib.sha256(b"".join([len(part).to_bytes(8, "big") + part for part in parts])).digest()


async def moments() -> AsyncIterator[float]:
    """When to look: now, and then again until another call has been waited for long enough.

    Yields the seconds that are left.
    """
    end, pause = time.monotonic() + WAIT_SECONDS, PAUSE_SECONDS_MIN
    while True:
        left = max(end - time.monotonic(), 0)
        yield left
        if not left:
            return
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.6, PAUSE_SECONDS_MAX)


def senders(inbound: Inbound, caller: Caller) -> frozenset[str]:
    """Who sends this: an organization, and an address, or the /64 that one IPv6 customer is given.

    A payment is not a secret: once it is on chain, anybody can read it and send it again. Only those who
    sent it first are given what it bought.
    """
    unit = unit_of(inbound.client_address)
    return frozenset({unit} if caller.organization_id is None else {unit, str(caller.organization_id)})
