"""Rail ``x402``: a signed transfer is claimed before the upstream runs and settled when it has answered.

The claim is a row bound to the request. One payment buys one upstream call: whoever sends it again, in
whatever way, is given the answer once more or told how the first one stands, and never asked to pay afresh
for something that may be paid already.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NoReturn

from gateway.answers import again
from gateway.answers.again import AnsweredBefore, AnswerNotKept
from gateway.answers.keep import Keeping
from gateway.answers.store import Answers, Kept
from gateway.kit.money import to_text
from gateway.kit.sql import Pool
from gateway.ledger.usage import Usage
from gateway.metering.usage import Recorder, begun
from gateway.tariffs import NOTHING_MEASURED, Used
from gateway.types import Caller, Head, Inbound, Match, Outcome, Quote, Receipt
from gateway.x402 import intake, payments
from gateway.x402.facilitator import FacilitatorUnavailable, PaymentInvalid
from gateway.x402.intake import Challenge, Intake, PaymentInProgress, PaymentsUnavailable
from gateway.x402.offers import Offers
from gateway.x402.payments import Claim, Payment
from gateway.x402.settlement import Settlements
from gateway.x402.wire import Resource


@dataclass(slots=True)
class X402Hold:
    rail: "X402Rail"
    intake: Intake
    challenge: Challenge
    event: Usage
    keeper: Keeping
    is_open: bool = True
    metering: None = None

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        self.is_open = False
        event, paid = self.event, self.intake.authorization
        used = {
            "publisher_id": str(event.publisher_id),
            "organization_id": str(event.organization_id) if event.organization_id else None,
            "method": event.method,
            "path": event.path,
            "status": head.status,
            "description": self.challenge.resource.description,
        }
        settlement = await self.rail.settlements.settle(event.call_id, paid, used)
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
        self.is_open = False
        await payments.void(self.rail.pool, self.event.call_id, outcome)
        self.record(outcome, status)

    def record(self, outcome: Outcome, status: int | None) -> None:
        self.rail.recorder.add(replace(self.event, outcome=outcome, status=status))


@dataclass(frozen=True, slots=True)
class X402Rail:
    pool: Pool
    offers: Offers
    settlements: Settlements
    recorder: Recorder
    fee_basis_points: int
    answers: Answers

    def challenge(self, inbound: Inbound, match: Match, quote: Quote) -> Challenge:
        route = match.route
        requirements = self.offers.requirements(quote.prices, route.wallet_address, route.wallet_network)
        return Challenge(Resource(inbound.url, quote.description), requirements)

    async def hold(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> X402Hold:
        challenge = self.challenge(inbound, match, quote)
        senders = again.senders(inbound, caller)
        taken = intake.read(inbound.credentials, challenge)
        paid = taken.authorization
        if known := await payments.find(self.pool, paid):
            await self.give_again(known, await again.fingerprint(inbound, match), taken, challenge, senders)
        intake.check(taken, challenge)
        try:
            await self.settlements.check(paid)
        except PaymentInvalid as error:
            raise challenge.refuse(error.code, error.message) from None
        except FacilitatorUnavailable as error:
            raise PaymentsUnavailable(f"{error}; nothing was charged") from None
        # Read only now: somebody without money must not make the gateway keep a large body.
        digest = await again.fingerprint(inbound, match)
        payee_id = next(one.payee_id for one in quote.prices if one.asset == paid.asset)
        is_owed = self.offers.is_owed(paid.asset.network)
        fee = paid.amount * self.fee_basis_points // 10_000 if is_owed else 0
        claim = Claim(inbound.call_id, "call", paid, digest, payee_id, is_owed, fee)
        if not await payments.claim(self.pool, claim):
            # Another request claimed it since it was looked for.
            taker = await payments.find(self.pool, paid)
            assert taker is not None, "payments are never removed"
            await self.give_again(taker, digest, taken, challenge, senders)
        event = begun(inbound, caller, match, "x402", paid.payer)
        return X402Hold(self, taken, challenge, event, Keeping(self.answers, inbound.call_id, senders))

    async def give_again(
        self, known: Payment, digest: bytes, taken: Intake, challenge: Challenge, senders: frozenset[str]
    ) -> NoReturn:
        """Raise ``AnsweredBefore``, or a ``Refusal`` that says how the payment stands.

        While it is being used, or nobody knows yet whether it settled, this call waits a little.
        """
        async for seconds_left in again.moments():
            known = await payments.get(self.pool, known.id) or known
            if known.request_digest != digest or known.state in ("void", "failed"):
                break
            if known.state == "settled":
                kept = await self.answers.find(known.id)
                if kept is not None or datetime.now(UTC) - known.created_at > self.answers.lifetime:
                    self.give(known, kept, taken, senders)
                    break
                if not seconds_left:
                    raise PaymentInProgress("this payment was settled, and its answer is on its way")
        raise intake.stands(known, digest, taken, challenge)

    def give(self, known: Payment, kept: Kept | None, taken: Intake, senders: frozenset[str]) -> None:
        """Raise what was kept; return when it is not for this sender."""
        if kept is not None and kept.senders is not None and senders.isdisjoint(kept.senders):
            return
        transaction = "0x" + (known.transaction_hash or b"").hex()
        receipt = taken.receipt(transaction)
        if kept is not None and kept.body is not None:
            headers = {**receipt, again.REPLAYED: "true"}
            raise AnsweredBefore(kept.answer, Receipt(known.id, "x402", 0, None, headers))
        asset = taken.authorization.asset
        paid = f"{to_text(known.amount, asset.decimals)} {asset.symbol}"
        gone = AnswerNotKept(known.id, kept.omitted if kept else None, paid)
        gone.headers = receipt
        raise gone
