"""What a charge lets happen to it. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any

from control.charges.models import Charge, NewCharge, Status
from control.charges.store import Charged
from gateway.kit import money


def digest_of(body: NewCharge, mode: str) -> bytes:
    """Of all that a key stands for: the same key with anything else is a mistake."""
    parts = (body.agent_wallet.lower(), str(body.amount_atomic), mode, body.description)
    return hashlib.sha256("\0".join(parts).encode()).digest()


def shown(one: Charged) -> Charge:
    return Charge(
        id=one.id,
        status=status_of(one),
        amount_atomic=money.millionths(one.amount, one.decimals),
        agent_wallet=one.agent_wallet,
        refunded_atomic=money.millionths(one.refunded, one.decimals),
        slashed_atomic=money.millionths(one.slashed, one.decimals),
        fee_atomic=money.millionths(one.fee, one.decimals),
        asset_id=one.asset_id,
        description=one.description,
        created_at=one.created_at,
    )


def status_of(one: Charged) -> Status:
    if not one.refunded:
        return "succeeded"
    return "refunded" if one.refunded == one.amount else "partially_refunded"


def told(one: Charged, slug: str, amount: int, reason: str) -> Mapping[str, Any]:
    """What the payer's webhooks are told."""
    return {
        "charge_id": str(one.id),
        "publisher": slug,
        "agent_wallet": one.agent_wallet,
        "asset_id": str(one.asset_id),
        "amount_atomic": str(amount),
        "description": reason,
    }


def text(amount: int, one: Charged) -> str:
    return f"${money.usd(money.millionths(amount, one.decimals))}"
