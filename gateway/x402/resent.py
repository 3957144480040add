"""A payment that was sent before, recognised although it would be refused today.

Authorizations expire and prices change. A payment that was used before that must not be answered with the
offer of a new one: its sender would pay twice for what it only asks for again.
"""

from collections.abc import Iterable

from gateway.kit.problem import Invalid
from gateway.kit.sql import Db
from gateway.types import Asset, Credentials
from gateway.x402 import intake, payments, wire
from gateway.x402.facilitator import Authorization, PaymentInvalid
from gateway.x402.intake import Intake
from gateway.x402.payments import Payment
from gateway.x402.wire import Presented, Requirement


async def find(db: Db, credentials: Credentials, assets: Iterable[Asset]) -> tuple[Payment, Intake] | None:
    """The payment as stored and as sent, when exactly this one was taken in before."""
    version, header = intake.one_payment(credentials)
    try:
        presented = wire.present(version, header)
    except wire.Malformed:
        return None
    for asset in assets:
        sent = parsed(presented, asset)
        known = None if sent is None else await payments.find_signed(db, sent)
        if sent is not None and known is not None:
            requirement = Requirement(asset, sent.amount, sent.pay_to, 0, presented.network)
            return known, Intake(presented, requirement, sent)
    return None


def parsed(presented: Presented, asset: Asset) -> Authorization | None:
    accepted = presented.accepted
    if accepted is not None and (accepted.network, accepted.asset.lower()) != (asset.network, asset.address):
        return None
    try:
        return wire.authorization(presented, asset)
    except (PaymentInvalid, Invalid):
        return None
