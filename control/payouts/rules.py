"""Where a payout may go, and how it is told. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from asyncpg import Record
from eth_utils.address import is_checksum_address, to_checksum_address

from config.settings import Network
from control.api import assets
from control.payouts.models import (
    BilledPayout,
    NewPayout,
    OperatedPayout,
    PublisherPayout,
    Status,
)
from gateway.kit import money
from gateway.ledger.payouts import Payout, State
from gateway.x402.signers import Signer

STATUSES: Mapping[State, Status] = {
    "requested": "queued",
    "submitted": "processing",
    "sent": "completed",
    "failed": "failed",
    "returned": "cancelled",
}
STATES: Mapping[Status, State] = {status: state for state, status in STATUSES.items()}
MINIMUM_DECIMALS = 18


def flaw_of(address: str, network_id: str, networks: Sequence[Network]) -> str | None:
    """Why nothing is sent to an address on this network."""
    digits = address[2:]
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(address):
        return "has a wrong EIP-55 checksum: is there a typing mistake?"
    if int(digits, 16) == 0:
        return "is the zero address: money sent there is gone"
    network = next((one for one in networks if one.id == network_id), None)
    if network is None:
        return None
    ours = {Signer(key).address for key in network.keys} | {(network.pay_to or "").lower()}
    if address.lower() in ours:
        return "is a wallet of this gateway: it would never arrive anywhere"
    if address.lower() in {asset.address.lower() for asset in network.assets}:
        return "is the contract of a token: money sent there is gone"
    return None


def is_manual(network_id: str, networks: Sequence[Network], *, is_always: bool) -> bool:
    """Whether a person has to send it, because no key of ours can on that network."""
    return is_always or not any(one.id == network_id and one.keys for one in networks)


def is_enough(amount: int, decimals: int, minimum: str) -> bool:
    """``minimum`` is in units of the asset, and may be finer than it."""
    whole, _, fraction = minimum.partition(".")
    least = int(whole + fraction.ljust(MINIMUM_DECIMALS, "0"))
    return bool(amount * 10**MINIMUM_DECIMALS >= least * 10**decimals)


def old_enough(age: timedelta) -> str:
    """What a refusal says of the age that earnings are paid out at."""
    return f" at least {age.days} day{'s' * (age.days > 1)} ago" if age else ""


def digest_of(body: NewPayout, mode: str) -> bytes:
    """Of all that a key stands for: the same key with anything else is a mistake."""
    parts = (body.destination_wallet.lower(), str(body.amount_atomic), mode, body.description)
    return hashlib.sha256("\0".join(parts).encode()).digest()


def billed(one: Payout) -> BilledPayout:
    return BilledPayout(
        id=one.id,
        status=STATUSES[one.state],
        amount_atomic=money.millionths(one.amount, one.decimals),
        destination_wallet=to_checksum_address(one.destination),
        tx_hash=one.hash_text,
        error_message=one.failure,
        reference=one.reference,
    )


def shown(one: Payout, asset: Record, networks: Sequence[Network]) -> PublisherPayout:
    return PublisherPayout(**fields(one, asset, networks))


def operated(one: Payout, asset: Record, networks: Sequence[Network]) -> OperatedPayout:
    return OperatedPayout(
        **fields(one, asset, networks),
        organization_id=one.organization_id,
        is_manual=one.is_manual,
        doubt=one.doubt,
    )


def fields(one: Payout, asset: Record, networks: Sequence[Network]) -> dict[str, Any]:
    return {
        "id": one.id,
        "publisher_id": one.publisher_id,
        "asset": assets.info(asset, networks),
        "amount": assets.number(one.amount, one.decimals),
        "amount_atomic": one.amount,
        "destination_wallet": to_checksum_address(one.destination),
        "status": STATUSES[one.state],
        "tx_hash": one.hash_text,
        "error_message": one.failure,
        "reference": one.reference,
        "requested_at": one.created_at,
    }
