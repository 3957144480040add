"""Rail ``x402``: a signed transfer is claimed before the upstream runs and settled when it has answered.

The claim is a row bound to the request. One payment buys one upstream call: whoever sends it again, in
whatever way, is given the answer once more or told how the first one stands, and never asked to pay afresh
for something that may be paid already.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from uuid import UUID

import structlog

from gateway.answers import again
from gateway.answers.again import AnsweredBefore, AnswerNotKept
from gateway.answers.keep import Keeping
from gateway.answers.store import Answers, Kept
from gateway.kit import tasks
from gateway.kit.money import to_text
from gateway.kit.sql import OUTAGES, Pool
from gateway.ledger import holds
from gateway.ledger.usage import Usage
from gateway.metering.usage import Recorder, begun
from gateway.tariffs import NOTHING_MEASURED, Used
from gateway.types import Answer, Caller, Head, Inbound, Match, Outcome, Quote, Receipt
from gateway.x402 import intake, payments
from gateway.x402.claims import Claimed, Claims
from gateway.x402.facilitator import FacilitatorUnavailable, PaymentInvalid
from gateway.x402.intake import Challenge, Intake, PaymentInProgress, PaymentsUnavailable, SettlementPending
from gateway.x402.offers import Offers, PaymentRequired
from gateway.x402.payments import Claim, Payment
from gateway.x402.settlement import Checked, Settlements
from gateway.x402.wire import Resource, identifier_extension

log = structlog.get_logger(__name__)

Standing: TypeAlias = Literal["running", "lost", "unused", "unknown"]

IDENTIFIERS = {is_required: identifier_extension(is_required=is_required) for is_required in (False, True)}


@dataclass(slots=True)
class X402Hold:
    rail: "X402Rail"
    intake: Intake
    challenge: Challenge
    checked: Checked
    event: Usage
    keeping: Keeping
    kept: Kept | None = None
    """The answer, where it is at hand: it is kept with what is submitted for it."""
    is_open: bool = True
    is_steady: bool = False
    metering: None = None

    def keeper(self, answer: Answer) -> AbstractAsyncContextManager[Answer] | None:
        self.kept = self.keeping.at_hand(answer)
        return self.keeping.copied(answer) if self.kept is None else None

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        self.end()
        event, paid = self.event, self.intake.authorization
        used = {
            "publisher_id": str(event.publisher_id),
            "organization_id": str(event.organization_id) if event.organization_id else None,
            "method": event.method,
            "path": event.path,
            "status": head.status,
            "description": self.challenge.resource.description,
        }
        try:
            settlement = await self.rail.settlements.settle(
                event.call_id, paid, used, self.checked, self.kept, is_answered_first=True
            )
        except OUTAGES as error:
            # It may have been sent, and the background jobs find out: the payer must not sign another.
            log.warning("settlement.unknown", call_id=str(event.call_id), reason=repr(error))
            raise SettlementPending(event.call_id, "") from None
        if settlement.outcome == "settled":
            return Receipt(
                event.call_id, "x402", paid.amount, paid.asset, self.intake.receipt(settlement.transaction)
            )
        if settlement.outcome == "failed":
            self.record("settlement_failed", head.status)
        raise intake.unsettled(settlement, event.call_id, self.intake, self.challenge)

    async def void(self, outcome: Outcome, status: int | None) -> None:
        if not self.is_open:
            return
        self.end()
        await payments.void(self.rail.pool, self.event.call_id, outcome)
        self.record(outcome, status)

    def end(self) -> None:
        self.is_open = False
        self.rail.claims.crowd.count -= 1

    def record(self, outcome: Outcome, status: int | None) -> None:
        self.rail.recorder.add(replace(self.event, outcome=outcome, status=status))


@dataclass(frozen=True, slots=True)
class X402Rail:
    pool: Pool
    offers: Offers
    settlements: Settlements
    claims: Claims
    recorder: Recorder
    fee_basis_points: int
    answers: Answers

    def challenge(self, inbound: Inbound, match: Match, quote: Quote) -> Challenge:
        route = match.route
        requirements = self.offers.of_call(route, quote.prices, is_upfront=match.is_upfront)
        is_required = route.requires_payment_identifier
        note = self.offers.too_small(quote.prices) if self.offers.minimums else ""
        resource = Resource(inbound.url, quote.description)
        return Challenge(resource, requirements, IDENTIFIERS[is_required], is_required, note)

    async def hold(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> X402Hold:
        challenge = self.challenge(inbound, match, quote)
        taken, digest, checked = await self.take(inbound, caller, match, challenge)
        paid = taken.authorization
        payee_id = next(one.payee_id for one in quote.prices if one.asset.id == paid.asset.id)
        is_owed = self.offers.is_owed(paid.asset.network)
        fee = paid.amount * self.fee_basis_points // 10_000 if is_owed else 0
        claim = Claim(
            inbound.call_id, "call", paid, digest, payee_id, is_owed, fee, taken.presented.identifier,
            self.offers.failures_max(paid.asset.network),
        )  # fmt: skip
        event = begun(inbound, caller, match, "x402", paid.payer)
        claiming = self.claims.claim(claim, checked.funds)
        try:
            claimed = await claiming
        except asyncio.CancelledError:
            # It was decided, and nobody is there any more to make the call that it is for.
            if claiming.done() and not claiming.cancelled() and claiming.exception() is None:
                await tasks.finish(self.give_up(event, claiming.result()))
            raise
        if claimed == "taken":
            await self.recall(inbound, caller, match, taken, challenge)
            raise await intake.unclaimed(self.pool, claim)
        if claimed == "promised":
            raise challenge.refuse("insufficient_funds", "the payer has promised what it has to other calls")
        # It is with its upstream, and mostly back soon.
        self.claims.crowd.count += 1
        return X402Hold(
            self, taken, challenge, checked, event, self.keeping(inbound.call_id, inbound, caller)
        )

    async def give_up(self, event: Usage, claimed: Claimed) -> None:
        if claimed == "claimed":
            await payments.void(self.pool, event.call_id, event.outcome)
            self.recorder.add(event)

    def keeping(self, payment_id: UUID, inbound: Inbound, caller: Caller) -> Keeping:
        return Keeping(self.answers, payment_id, again.senders(inbound, caller))

    async def take(
        self, inbound: Inbound, caller: Caller, match: Match, challenge: Challenge
    ) -> tuple[Intake, bytes, Checked]:
        """A payment that would settle now, what it is bound to, and what the chain said of it.

        Whether it is new, its claim finds out: to look for it first would cost every new one a statement.
        """
        taken = intake.read(inbound.credentials, challenge)
        try:
            if taken.presented.identifier is not None:
                await self.recall(inbound, caller, match, taken, challenge)
            checked = await self.checked(taken, challenge)
        except (PaymentRequired, PaymentsUnavailable):
            # It stands as it stands, also when it was spent, has expired, or the price has changed since.
            await self.recall(inbound, caller, match, taken, challenge)
            raise
        if known := await intake.named_before(self.pool, taken, is_proven=True):
            digest, senders = await again.fingerprint(inbound, match), again.senders(inbound, caller)
            raise await self.stands(known, digest, taken, challenge, senders, is_named=True)
        # Read only now: somebody without money must not make the gateway keep a large body.
        return taken, await again.fingerprint(inbound, match), checked

    async def checked(self, taken: Intake, challenge: Challenge) -> Checked:
        intake.check(taken, challenge)
        try:
            return await self.settlements.check(taken.authorization)
        except PaymentInvalid as error:
            raise challenge.refuse(error.code, error.message) from None
        except FacilitatorUnavailable as error:
            raise PaymentsUnavailable(f"{error}; nothing was charged") from None

    async def recall(
        self, inbound: Inbound, caller: Caller, match: Match, taken: Intake, challenge: Challenge
    ) -> None:
        """Raise how a payment stands that was taken before, or one of the same name."""
        senders = again.senders(inbound, caller)
        if known := await payments.find(self.pool, taken.authorization):
            intake.recognise(known, taken, challenge)
            digest = await again.fingerprint(inbound, match)
            raise await self.stands(known, digest, taken, challenge, senders)
        if known := await intake.named_before(self.pool, taken, is_proven=False):
            # Signed anew, by a payer that lost the first answer: it must not pay twice.
            digest = await again.fingerprint(inbound, match)
            raise await self.stands(known, digest, taken, challenge, senders, is_named=True)

    async def stands(
        self,
        known: Payment,
        digest: bytes,
        taken: Intake,
        challenge: Challenge,
        senders: frozenset[str],
        *,
        is_named: bool = False,
    ) -> Exception:
        """What a payment bought, as ``AnsweredBefore``, or a ``Refusal`` that says how it stands.

        While it is being used, or nobody knows yet whether it settled, this call waits a little.
        """
        told = intake.named if is_named else intake.stands
        async for seconds_left in again.moments():
            known = await payments.get(self.pool, known.id) or known
            if known.request_digest != digest or known.state in ("void", "failed"):
                break
            if known.state == "settled":
                kept = await self.answers.find(known.id)
                if kept is not None:
                    return self.given(known, kept, taken, senders) or told(known, digest, taken, challenge)
                standing = await self.standing(known)
                if standing == "lost":
                    return self.lost(known, None, taken)
                if standing == "unused":
                    break
                if standing == "running" and not seconds_left:
                    return PaymentInProgress("this payment was settled, and its answer is on its way")
        return told(known, digest, taken, challenge)

    async def standing(self, known: Payment) -> Standing:
        """Where the call is of a settled payment without an answer."""
        is_over = datetime.now(UTC) - known.created_at > self.answers.lifetime
        if known.purpose == "call":
            return "lost" if is_over else "running"
        call_id = (known.usage or {}).get("call_id")
        state = None if call_id is None else await holds.state(self.pool, UUID(call_id))
        if state == "posted":
            return "lost" if is_over else "running"
        if state == "open":
            return "running"
        # Paid upfront, it is in the balance. The call follows at once, or never when the payment was late.
        return "unused" if state == "void" or is_over else "unknown"

    def given(self, known: Payment, kept: Kept, taken: Intake, senders: frozenset[str]) -> Exception | None:
        """What was kept, for those who may have it."""
        name = taken.presented.identifier
        # What a payer called its payment is not on the chain: who knows it is the payer.
        is_theirs = name is not None and name == known.identifier
        if not is_theirs and kept.senders is not None and senders.isdisjoint(kept.senders):
            return None
        if kept.body is None:
            return self.lost(known, kept, taken)
        call_id = (known.usage or {}).get("call_id")
        headers = {**receipt_of(known, taken), again.REPLAYED: "true"}
        first = Receipt(UUID(call_id) if call_id else known.id, "x402", 0, None, headers)
        return AnsweredBefore(kept.answer, first)

    def lost(self, known: Payment, kept: Kept | None, taken: Intake) -> AnswerNotKept:
        gone = AnswerNotKept(known.id, kept.omitted if kept else None, self.paid(known))
        gone.headers = receipt_of(known, taken)
        return gone

    def paid(self, known: Payment) -> str:
        """In its own asset: a payment of the same name may be in another."""
        asset = self.offers.assets.get(known.asset_id)
        if asset is None:
            # Its network is configured no more.
            return f"{known.amount} atomic units of asset {known.asset_id}"
        return f"{to_text(known.amount, asset.decimals)} {asset.symbol}"


def receipt_of(known: Payment, taken: Intake) -> Mapping[str, str]:
    return taken.receipt("0x" + (known.transaction_hash or b"").hex())
