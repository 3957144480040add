"""Over the rail that pays the gateway's fee: the caller's other payment, which the upstream is sent.

The gateway cannot know whether that payment is good, but it makes sure that it is with the upstream once at a
time, and not again once it has bought an answer. Whoever sends it again is given that answer.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from gateway.answers import again
from gateway.answers.again import REPLAYED, AnsweredBefore
from gateway.answers.keep import Keeping
from gateway.answers.store import Answers
from gateway.kit import tasks
from gateway.kit.problem import Problem, Refusal
from gateway.kit.sql import Pool, Statements
from gateway.passthrough import RECEIPTS
from gateway.tariffs import NOTHING_MEASURED, Used
from gateway.types import Begun, Caller, Head, Hold, Inbound, Keeper, Match, Metering, Outcome, Receipt
from gateway.upstream_payment import UpstreamPayment
from gateway.x402.intake import SettlementPending

SQL = Statements(__file__)


class UpstreamPaymentElsewhere(Refusal):
    status, slug, title = (
        409, "upstream-payment-bound-elsewhere", "The payment for the upstream belongs to another request",
    )  # fmt: skip

    def __init__(self, call_id: UUID) -> None:
        super().__init__(
            f"the payment in X-PAYMENT-UPSTREAM was sent with another request, {call_id}; sign another"
        )


class UpstreamPaymentUsed(Refusal):
    status, slug, title = 409, "upstream-payment-used", "The payment for the upstream was used"

    def __init__(self, call_id: UUID) -> None:
        super().__init__(
            f"the payment in X-PAYMENT-UPSTREAM bought the answer to call {call_id}, which was not kept, or "
            "is not yours, or waits for the fee that was paid with it: send the same payments again, or sign "
            "another for another call"
        )
        self.members = {"call_id": str(call_id)}

    def problem(self) -> Problem:
        return super().problem().model_copy(update=self.members)


class UpstreamPaymentUnderWay(Refusal):
    status, slug, title = 409, "upstream-payment-under-way", "The payment is with the upstream"

    def __init__(self, call_id: UUID, seconds_left: int) -> None:
        super().__init__(
            f"call {call_id} sent the payment in X-PAYMENT-UPSTREAM to the upstream, which has not answered; "
            f"it can be sent again when it did, and in {seconds_left} s in any case"
        )
        self.headers = {"Retry-After": "1"}


@dataclass(slots=True)
class PassthroughHold:
    rail: "PassthroughRail"
    inner: Hold
    identity: bytes
    call_id: UUID
    keeper: Keeper
    metering: Metering | None = None
    is_claimed: bool = True
    is_steady: bool = False

    @property
    def is_open(self) -> bool:
        return self.is_claimed or self.inner.is_open

    @property
    def event(self) -> Begun:
        return self.inner.event

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        # First, and whatever becomes of the fee: the upstream was paid.
        self.is_claimed = False
        await self.rail.pool.execute(SQL.use, self.identity, self.call_id)
        receipt = await self.rail.charge(self.inner, self.identity, head, measured)
        own = receipt.headers.get("Access-Control-Expose-Headers")
        exposed = ", ".join(filter(None, [own, *RECEIPTS]))
        return replace(receipt, headers={**receipt.headers, "Access-Control-Expose-Headers": exposed})

    async def void(self, outcome: Outcome, status: int | None) -> Receipt | None:
        receipt = await self.inner.void(outcome, status)
        # Without an answer nobody knows whether the upstream is still at it, so it is not asked twice.
        if self.is_claimed and status is not None:
            await self.rail.pool.execute(SQL.release, self.identity, self.call_id)
        self.is_claimed = False
        return receipt


@dataclass(frozen=True, slots=True)
class PassthroughRail:
    pool: Pool
    answers: Answers

    async def over(
        self, inner: Hold, payment: UpstreamPayment, inbound: Inbound, caller: Caller, match: Match
    ) -> PassthroughHold:
        """Claim the payment for the upstream; the fee is given back when that cannot be done."""
        try:
            await self.claim(inner, payment.identity, inbound, caller, match)
        except BaseException:
            await tasks.finish(inner.void("abandoned", None))
            raise
        keeping = Keeping(self.answers, inbound.call_id, again.senders(inbound, caller))
        return PassthroughHold(self, inner, payment.identity, inbound.call_id, keeping.copied)

    async def claim(
        self, inner: Hold, identity: bytes, inbound: Inbound, caller: Caller, match: Match
    ) -> None:
        digest, lifetime = await again.fingerprint(inbound, match), self.answers.lifetime
        async for seconds_left in again.moments():
            if await self.pool.fetchval(SQL.claim, identity, inbound.call_id, digest, lifetime) is not None:
                return
            first = await self.pool.fetchrow(SQL.find, identity, lifetime)
            if first is None:
                # Its call ended without using it, just now.
                continue
            call_id: UUID = first["call_id"]
            if first["request_digest"] != digest:
                raise UpstreamPaymentElsewhere(call_id)
            if first["is_used"] and first["fee"] is not None:
                await self.give_again(inner, identity, call_id, again.senders(inbound, caller))
            if not seconds_left:
                raise (
                    UpstreamPaymentUsed(call_id)
                    if first["is_used"]
                    else UpstreamPaymentUnderWay(call_id, first["seconds_left"])
                )
        raise UpstreamPaymentUnderWay(inbound.call_id, 1)

    async def give_again(self, inner: Hold, identity: bytes, call_id: UUID, senders: frozenset[str]) -> None:
        """``AnsweredBefore`` for those who sent it first: a payment is no secret once it is on a chain.

        Where the fee was not paid then, it is now; the upstream is not asked again.
        """
        kept = await self.answers.find(call_id)
        if kept is None or kept.body is None or kept.senders is None or kept.senders.isdisjoint(senders):
            return
        receipt = Receipt(call_id, "free", 0, None)
        if await self.pool.fetchval(SQL.retake_fee, identity) is not None:
            receipt = await tasks.finish(self.charge(inner, identity, kept.head, NOTHING_MEASURED))
        raise AnsweredBefore(kept.answer, replace(receipt, headers={**receipt.headers, REPLAYED: "true"}))

    async def charge(self, inner: Hold, identity: bytes, head: Head, measured: Used) -> Receipt:
        """Post the fee, and write down whether it was paid."""
        try:
            receipt = await inner.post(head, measured)
        except Refusal as refusal:
            if refusal.status != SettlementPending.status:
                await self.pool.execute(SQL.tell_fee, identity, "failed")
            raise
        await self.pool.execute(SQL.tell_fee, identity, "paid")
        return receipt


async def prune(pool: Pool, kept: timedelta) -> None:
    await pool.execute(SQL.prune, kept)
