"""An EIP-3009 token on the wire: calls to it, and the events that say what it did."""

from collections.abc import Mapping
from typing import Any

from gateway.x402.exact import keccak
from gateway.x402.facilitator import Authorization


def selector(signature: bytes) -> bytes:
    return keccak(signature)[:4]


TRANSFER_WITH_AUTHORIZATION = selector(
    b"transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"
)
AUTHORIZATION_STATE = selector(b"authorizationState(address,bytes32)")
BALANCE_OF = selector(b"balanceOf(address)")
DOMAIN_SEPARATOR = selector(b"DOMAIN_SEPARATOR()")

TRANSFERRED = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
AUTHORIZATION_USED = "0x" + keccak(b"AuthorizationUsed(address,bytes32)").hex()
AUTHORIZATION_CANCELED = "0x" + keccak(b"AuthorizationCanceled(address,bytes32)").hex()


def transfer_with_authorization(one: Authorization) -> bytes:
    r, s, v = one.signature[:32], one.signature[32:64], one.signature[64]
    return b"".join(
        [
            TRANSFER_WITH_AUTHORIZATION,
            word(one.payer),
            word(one.pay_to),
            one.amount.to_bytes(32, "big"),
            one.valid_after.to_bytes(32, "big"),
            one.valid_before.to_bytes(32, "big"),
            one.nonce,
            # Some wallets count from 0; tokens take 27 and 28 only.
            (v if v >= 27 else v + 27).to_bytes(32, "big"),
            r,
            s,
        ]
    )


def authorization_state(payer: str, nonce: bytes) -> bytes:
    """True once the authorization was used or cancelled."""
    return AUTHORIZATION_STATE + word(payer) + nonce


def balance_of(owner: str) -> bytes:
    return BALANCE_OF + word(owner)


def word(address: str) -> bytes:
    return bytes.fromhex(address[2:]).rjust(32, b"\0")


def has_transfer(receipt: Mapping[str, Any], asset: str, payer: str, pay_to: str, amount: int) -> bool:
    """Whether the transaction did exactly what the payer signed, by the asset's own word."""
    wanted = [TRANSFERRED, "0x" + word(payer).hex(), "0x" + word(pay_to).hex()]
    return any(
        log["address"].lower() == asset
        and [topic.lower() for topic in log["topics"]] == wanted
        and int(log["data"], 16) == amount
        for log in receipt["logs"]
    )
