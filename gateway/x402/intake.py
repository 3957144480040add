"""Taking a payment in: what can be told without asking anybody, and what to say of one that was seen before.

Calls and deposits share it. A challenge says what to pay; a payment that does not answer it is refused with
the same challenge and a reason that its sender can act on.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gateway.kit.problem import Problem, Refusal, invalid
from gateway.kit.sql import Pool
from gateway.kit.values import dataclass
from gateway.types import Credentials
from gateway.x402 import exact, payments, wire
from gateway.x402.facilitator import Authorization, PaymentInvalid, Settlement
from gateway.x402.offers import PaymentRequired
from gateway.x402.payments import Claim, Payment
from gateway.x402.wire import Presented, Requirement, Resource


class TwoPayments(Refusal):
    status, slug, title = 400, "two-payments", "More than one payment"


class PaymentElsewhere(Refusal):
    status, slug, title = 409, "payment-bound-elsewhere", "The payment belongs to another request"


class IdentifierMissing(Refusal):
    status, slug, title = 400, "payment-identifier-required", "Payment identifier required"


class IdentifierTaken(Refusal):
    status, slug, title = (
        409,
        "payment-identifier-conflict",
        "The payment identifier belongs to another request",
    )


class PaymentInProgress(Refusal):
    status, slug, title = 409, "payment-in-progress", "The payment is being used"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class PayerFailing(Refusal):
    status, slug, title = 429, "payer-failing", "The payer's payments do not settle"
    headers: Mapping[str, str] = {"Retry-After": "3600"}


class PaymentUsed(Refusal):
    status, slug, title = 409, "payment-already-used", "The payment was used"


class PaymentsUnavailable(Refusal):
    status, slug, title = 503, "payments-unavailable", "Payments cannot be checked right now"
    headers: Mapping[str, str] = {"Retry-After": "5"}


class SettlementPending(Refusal):
    # The slug is the specification's error code, section 9.
    status, slug, title = 503, "settlement_pending", "Settlement pending"
    headers: Mapping[str, str] = {"Retry-After": "5", "Cache-Control": "no-store"}
    advice: ClassVar[str] = "send the same request with the same payment again, and do not sign another"

    def __init__(self, payment_id: object, transaction: str) -> None:
        super().__init__(f"payment {payment_id} was sent and its outcome is not known yet; {self.advice}")
        self.members = {"payment_id": str(payment_id), "transaction": transaction}

    def problem(self) -> Problem:
        return super().problem().model_copy(update=self.members)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What can be paid with, for every answer that has to say so."""

    resource: Resource
    requirements: Sequence[Requirement]
    extensions: Mapping[str, Any] | None = None
    requires_identifier: bool = False
    note: str = ""
    """Why there is no more to pay with, where somebody may wonder."""

    def refuse(
        self, error: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> PaymentRequired:
        return PaymentRequired(
            f"{detail}; {self.note}" if self.note else detail,
            self.resource,
            self.requirements,
            error=error,
            headers=headers,
            extensions=self.extensions,
            **members,
        )


@dataclass(frozen=True, slots=True)
class Intake:
    """A payment as its payer signed it."""

    presented: Presented
    authorization: Authorization

    def receipt(
        self, transaction: str, failure: str | None = None, extra: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """The header that tells the payer how the payment stands."""
        one, presented = self.authorization, self.presented
        network = presented.network if presented.version == 1 else one.asset.network
        value = wire.receipt(presented.version, network, transaction, one.payer, one.amount, failure, extra)
        name = wire.RESPONSES[presented.version]
        return {name: value, "Access-Control-Expose-Headers": name}


def read(credentials: Credentials, challenge: Challenge) -> Intake:
    """Decode the payment of a request, in the asset that it is in.

    Its terms are for ``check``, and whose signature it has is for the chain to say. A payment that was taken
    before stands as it stands, also when the price has changed since or it has expired.
    """
    version, header = one_payment(credentials)
    try:
        presented = wire.present(version, header)
    except wire.Malformed as error:
        raise invalid(f"header/{wire.HEADERS[version]}", str(error)) from None
    if challenge.requires_identifier and presented.identifier is None:
        raise IdentifierMissing(
            "name this payment in extensions.payment-identifier.info.id: 16 to 128 letters, digits, - or _"
        )
    try:
        asset = wire.asset_of(presented, challenge.requirements)
        authorization = wire.authorization(presented, asset)
    except PaymentInvalid as error:
        raise challenge.refuse(error.code, error.message) from None
    return Intake(presented, authorization)


def check(intake: Intake, challenge: Challenge) -> None:
    """Refuse a new payment that is not exactly what this challenge asks for, now."""
    presented = intake.presented
    try:
        requirement = wire.match(presented, challenge.requirements)
        exact.check_terms(intake.authorization, requirement, now())
        resource = challenge.resource
        # A long query is not repeated in the offer; the request is what the payment is bound to.
        url = presented.resource_url
        if url is not None and url != resource.url and url != resource.without_query.url:
            raise PaymentInvalid("resource_mismatch", f"the payment is for {presented.resource_url}")
    except PaymentInvalid as error:
        raise challenge.refuse(error.code, error.message) from None


def now() -> int:
    """In the seconds that authorizations count."""
    return int(time.time())


def one_payment(credentials: Credentials) -> tuple[wire.Version, str]:
    if credentials.payment_v1 is not None and credentials.payment_v2 is not None:
        raise TwoPayments("send PAYMENT-SIGNATURE or X-PAYMENT, not both")
    if credentials.payment_v2 is not None:
        return 2, credentials.payment_v2
    assert credentials.payment_v1 is not None, "asked only of requests that bring a payment"
    return 1, credentials.payment_v1


def recognise(known: Payment, intake: Intake, challenge: Challenge) -> None:
    """Refuse to tell how a payment stands to somebody who only guessed its payer and its nonce."""
    one = intake.authorization
    if known.signature != one.signature and not exact.is_signed_by_key(one):
        raise challenge.refuse("invalid_exact_evm_payload_signature", exact.NOT_SIGNED)


async def named_before(pool: Pool, intake: Intake, *, is_proven: bool) -> Payment | None:
    """The payment that this payer gave the same name.

    A key's signature is proof at once, and a payer whose wallet is empty since has to hear of it; a
    contract's is proven by the check.
    """
    identifier, one = intake.presented.identifier, intake.authorization
    if identifier is None or not (is_proven or exact.is_signed_by_key(one)):
        return None
    return await payments.find_identified(pool, one.payer, identifier)


def named(known: Payment, digest: bytes, intake: Intake, challenge: Challenge) -> Refusal:
    """How the payment stands that had the name before, for a request that may be another."""
    if known.request_digest != digest:
        return IdentifierTaken("another request was paid under this payment identifier; choose a new one")
    return stands(known, digest, intake, challenge)


def stands(known: Payment, digest: bytes, intake: Intake, challenge: Challenge) -> Refusal:
    """How a payment stands that was claimed before; never a reason to pay for the same thing twice."""
    if known.request_digest != digest:
        return PaymentElsewhere("this payment was sent with another request; sign one for this request")
    transaction = "0x" + known.transaction_hash.hex() if known.transaction_hash else ""
    if known.state == "claimed":
        return PaymentInProgress("this payment is being used by a request that has not ended yet")
    if known.state == "submitted":
        return SettlementPending(known.id, transaction)
    if known.state == "settled":
        return spent(known, transaction, intake)
    return unused(known.failure or "void", transaction, intake, challenge)


async def unclaimed(pool: Pool, claim: Claim) -> Refusal:
    """Why a payment could not be claimed that nobody else has claimed for good."""
    if await payments.is_failing(pool, claim):
        return PayerFailing(
            f"the last payments of {claim.authorization.payer} did not settle when due; its payments"
            " are taken again an hour after the last of these, and nothing was charged"
        )
    return PaymentInProgress("this payment is being used by another request")


def spent(known: Payment, transaction: str, intake: Intake) -> Refusal:
    where = {"creditedToBalance": str(known.amount)} if known.purpose == "deposit" else None
    became = "went into the balance" if where else "is spent"
    used = PaymentUsed(f"this payment {became}, as {known.id}; sign another for another request")
    used.headers = intake.receipt(transaction, extra=where)
    return used


def unsettled(settlement: Settlement, payment_id: object, intake: Intake, challenge: Challenge) -> Refusal:
    """What to answer when a payment did not settle in time, or not at all."""
    if settlement.outcome == "pending":
        return SettlementPending(payment_id, settlement.transaction)
    failure = settlement.failure or "unexpected_settle_error"
    headers = intake.receipt(settlement.transaction, failure)
    return challenge.refuse(failure, f"the payment did not settle ({failure}); nothing was charged", headers)


def unused(failure: str, transaction: str, intake: Intake, challenge: Challenge) -> PaymentRequired:
    detail = f"this payment was not used ({failure}) and never will be; nothing was charged, sign another"
    return challenge.refuse("invalid_transaction_state", detail, intake.receipt(transaction, failure))
