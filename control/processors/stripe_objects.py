"""What Stripe's objects say, in our words."""

from typing import Any, Literal
from uuid import UUID

import stripe

from control.processors.port import OUR_ID, Card, Reversal, Standing, uuid_in

# Nothing left to be paid by it.
DEAD_INTENT = ("canceled", "requires_payment_method")
# An inquiry takes no money: https://docs.stripe.com/disputes/how-disputes-work
TAKING = ("needs_response", "under_review", "lost")


def of_session(session: stripe.checkout.Session) -> Standing:
    intent = session.payment_intent
    return Standing(
        state=state_of(session, intent),
        our_id=our_id(session.metadata),
        amount_cents=session.amount_total or 0,
        currency=session.currency or "",
        is_live=session.livemode,
        session_id=session.id,
        intent_id=id_of(intent),
        charge_id=id_of(intent.latest_charge) if isinstance(intent, stripe.PaymentIntent) else None,
        url=session.url,
    )


def state_of(
    session: stripe.checkout.Session, intent: str | stripe.PaymentIntent | None
) -> Literal["open", "paid", "failed", "expired"]:
    if session.payment_status == "paid":
        return "paid"
    if session.status == "expired":
        return "expired"
    is_dead = isinstance(intent, stripe.PaymentIntent) and intent.status in DEAD_INTENT
    # Complete and unpaid is a payment that takes days, until its intent has failed.
    return "failed" if session.status == "complete" and is_dead else "open"


def of_intent(intent: stripe.PaymentIntent) -> Standing:
    error = intent.last_payment_error
    is_paid = intent.status == "succeeded"
    return Standing(
        state="paid" if is_paid else "canceled" if intent.status == "canceled" else "open",
        our_id=our_id(intent.metadata),
        amount_cents=intent.amount_received if is_paid else intent.amount,
        currency=intent.currency,
        is_live=intent.livemode,
        intent_id=intent.id,
        charge_id=id_of(intent.latest_charge),
        client_secret=intent.client_secret,
        failure_code=error.code if error else None,
        failure_message=error.message if error else None,
    )


def of_refund(refund: stripe.Refund) -> Reversal:
    return Reversal(refund.id, "refund", refund.amount, refund.status not in ("failed", "canceled"))


def is_taking(dispute: stripe.Dispute) -> bool:
    """Whether it takes money, or took it for a time."""
    return dispute.status in TAKING or dispute.status == "won"


def of_dispute(dispute: stripe.Dispute) -> Reversal:
    return Reversal(dispute.id, "dispute", dispute.amount, dispute.status in TAKING)


def of_method(method: stripe.PaymentMethod) -> Card:
    card = method.card if method.type == "card" else None
    bank = method.us_bank_account if method.type == "us_bank_account" else None
    customer_id = id_of(method.customer)
    if card is not None:
        return Card(
            method.id, "card", customer_id, card.brand, card.last4, card.exp_month, card.exp_year,
            card.fingerprint,
        )  # fmt: skip
    if bank is not None:
        return Card(method.id, method.type, customer_id, last4=bank.last4, fingerprint=bank.fingerprint)
    return Card(method.id, method.type, customer_id)


def id_of(found: Any) -> str | None:
    """Of an object, or what stands for it where it was not asked for."""
    return found if found is None or isinstance(found, str) else str(found.id)


def our_id(metadata: stripe.StripeObject | None) -> UUID | None:
    found = metadata.to_dict().get(OUR_ID) if metadata is not None else None
    return uuid_in(found)
