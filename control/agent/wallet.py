"""An agent's wallet: it signs the payment that a 402 asks for."""

import secrets
from collections.abc import Mapping
from typing import Any

from eth_account import Account

# A payer's clock may be ahead of the chain's.
CLOCK_SLACK_SECONDS = 600

TYPES = {
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"},
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"},
        {"name": "validBefore", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ]
}


def sign_payment(
    private_key: str | bytes,
    requirements: Mapping[str, Any],
    now: int,
    *,
    chain_id: int | None = None,
) -> dict[str, Any]:
    """Return the ``payload`` of an ``exact`` payment: an EIP-3009 authorization and its signature.

    ``requirements`` is one entry of ``accepts``, of either version of x402. Version 1 names its network, so
    there the chain id has to be known from elsewhere.
    """
    amount = requirements.get("amount", requirements.get("maxAmountRequired"))
    authorization = {
        "from": Account.from_key(private_key).address,
        "to": requirements["payTo"],
        "value": str(amount),
        "validAfter": str(now - CLOCK_SLACK_SECONDS),
        "validBefore": str(now + requirements["maxTimeoutSeconds"]),
        "nonce": "0x" + secrets.token_hex(32),
    }
    domain = {
        "name": requirements["extra"]["name"],
        "version": requirements["extra"]["version"],
        "chainId": chain_id or int(requirements["network"].removeprefix("eip155:")),
        "verifyingContract": requirements["asset"],
    }
    numbers = {name: int(authorization[name]) for name in ("value", "validAfter", "validBefore")}
    signed = Account.sign_typed_data(private_key, domain, TYPES, {**authorization, **numbers})
    return {"signature": "0x" + bytes(signed.signature).hex(), "authorization": authorization}
