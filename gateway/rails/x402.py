"""Rail ``x402``: a signed transfer is claimed before the upstream runs and settled when it has answered.

The claim is a row bound to the request. One payment buys one upstream call: whoever sends it again, in
whatever way, is told how the first one stands, and never asked to pay afresh for something that may be paid
already.
"""

import hashlib
from dataclasses import dataclass, replace

from gateway.kit.sql import Pool
from gateway.ledger.usage import Usage
from gateway.metering.usage import Recorder, begun
from gateway.tariffs import NOTHING_MEASURED, Used
from gateway.types import Caller, Head, Inbound, Match, Outcome, Quote, Receipt
from gateway.x402 import intake, payments
from gateway.x402.facilitator import FacilitatorUnavailable, PaymentInvalid
from gateway.x402.intake import Challenge, Intake, PaymentInProgress, PaymentsUnavailable
from gateway.x402.offers import Offers
from gateway.x402.payments import Claim
from gateway.x402.settlement import Settlements
from gateway.x402.wire import Resource, identifier_extension

IDENTIFIERS = {is_required: identifier_extension(is_required=is_required) for is_required in (False, True)}


@dataclass(slots=True)
class X402Hold:
    rail: "X402Rail"
    intake: Intake
    challenge: Challenge
    event: Usage
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

    def challenge(self, inbound: Inbound, match: Match, quote: Quote) -> Challenge:
        route = match.route
        requirements = self.offers.requirements(
            quote.prices, route.wallet_address, route.wallet_network, is_upfront=match.is_upfront
        )
        is_required = route.requires_payment_identifier
        return Challenge(
            Resource(inbound.url, quote.description), requirements, IDENTIFIERS[is_required], is_required
        )

    async def hold(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> X402Hold:
        challenge = self.challenge(inbound, match, quote)
        taken, digest = await self.take(inbound, match, challenge)
        paid = taken.authorization
        payee_id = next(one.payee_id for one in quote.prices if one.asset == paid.asset)
        is_owed = self.offers.is_owed(paid.asset.network)
        fee = paid.amount * self.fee_basis_points // 10_000 if is_owed else 0
        claim = Claim(
            inbound.call_id, "call", paid, digest, payee_id, is_owed, fee, taken.presented.identifier
        )
        if not await payments.claim(self.pool, claim):
            # Another request claimed it since it was looked for.
            raise PaymentInProgress("this payment is being used by another request")
        event = begun(inbound, caller, match, "x402", paid.payer)
        return X402Hold(self, taken, challenge, event)

    async def take(self, inbound: Inbound, match: Match, challenge: Challenge) -> tuple[Intake, bytes]:
        """A payment that nobody brought before and that would settle now, and what it is bound to."""
        taken = intake.read(inbound.credentials, challenge)
        paid = taken.authorization
        if known := await payments.find(self.pool, paid):
            intake.recognise(known, taken, challenge)
            raise intake.stands(known, await fingerprint(inbound, match), taken, challenge)
        if known := await intake.named_before(self.pool, taken, is_proven=False):
            # Signed anew, by a payer that lost the first answer: it must not pay twice.
            raise intake.named(known, await fingerprint(inbound, match), taken, challenge)
        intake.check(taken, challenge)
        try:
            await self.settlements.check(paid)
        except PaymentInvalid as error:
            raise challenge.refuse(error.code, error.message) from None
        except FacilitatorUnavailable as error:
            raise PaymentsUnavailable(f"{error}; nothing was charged") from None
        if known := await intake.named_before(self.pool, taken, is_proven=True):
            raise intake.named(known, await fingerprint(inbound, match), taken, challenge)
        # Read only now: somebody without money must not make the gateway keep a large body.
        return taken, await fingerprint(inbound, match)


async def fingerprint(inbound: Inbound, match: Match) -> bytes:
    """SHA-256 of what a payment is bound to: method, publisher, upstream URL with its query, and body."""
    body = await inbound.body.digest()
    parts = (inbound.method.encode(), match.route.publisher_id.bytes, match.url.encode(), body)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
