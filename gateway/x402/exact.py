"""Scheme ``exact`` on EVM: check a signed EIP-3009 transfer without asking anybody.

Source: x402 scheme_exact_evm, EIP-3009, EIP-712, EIP-2 (low s). What only the chain knows,
``Facilitator.check`` asks it.
"""

from functools import lru_cache

import sha3
from coincurve import PublicKey

from gateway.types import Asset
from gateway.x402.facilitator import Authorization, PaymentInvalid
from gateway.x402.wire import Requirement

# A transfer needs this long to be mined, or it would expire on the way.
MARGIN_SECONDS = 6

KEY_SIGNATURE_BYTES = 65
NOT_SIGNED = "the payment is not signed by its payer"

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def keccak(data: bytes) -> bytes:
    return bytes(sha3.keccak_256(data).digest())


DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
TRANSFER_TYPE = keccak(
    b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    b"bytes32 nonce)"
)
PAD = bytes(12)


@lru_cache(maxsize=1024)
def domain_separator(asset: Asset) -> bytes:
    return keccak(
        DOMAIN_TYPE
        + keccak(asset.name.encode())
        + keccak(asset.version.encode())
        + asset.chain_id.to_bytes(32, "big")
        + PAD
        + bytes.fromhex(asset.address[2:])
    )


def digest(authorization: Authorization) -> bytes:
    """The EIP-712 digest that the payer signed."""
    message = keccak(
        TRANSFER_TYPE
        + PAD + bytes.fromhex(authorization.payer[2:])
        + PAD + bytes.fromhex(authorization.pay_to[2:])
        + authorization.amount.to_bytes(32, "big")
        + authorization.valid_after.to_bytes(32, "big")
        + authorization.valid_before.to_bytes(32, "big")
        + authorization.nonce
    )  # fmt: skip
    return keccak(b"\x19\x01" + domain_separator(authorization.asset) + message)


def check_terms(authorization: Authorization, requirement: Requirement, now: int) -> None:
    """``PaymentInvalid`` unless this is exactly what was asked for, and in time.

    Whose signature it is, the facilitator finds out: only the chain knows whether the payer is a contract.
    """
    if authorization.pay_to != requirement.pay_to:
        refuse("invalid_exact_evm_payload_recipient_mismatch", "the payment is to somebody else")
    if authorization.amount != requirement.amount:
        refuse(
            "invalid_exact_evm_payload_authorization_value_mismatch",
            f"the price is exactly {requirement.amount}, the payment is {authorization.amount}",
        )
    if authorization.valid_after > now:
        refuse("invalid_exact_evm_payload_authorization_valid_after", "the payment is not valid yet")
    if authorization.valid_before < now + MARGIN_SECONDS:
        refuse("invalid_exact_evm_payload_authorization_valid_before", "the payment expires too soon")


def is_signed_by_key(authorization: Authorization) -> bool:
    """Whether the payer's own key signed, which is what counts for an account without code."""
    return recover(authorization) == authorization.payer


def recover(authorization: Authorization) -> str | None:
    """The address that signed, or None when no key can have."""
    signature = authorization.signature
    if len(signature) != KEY_SIGNATURE_BYTES:
        return None
    v = signature[64] - 27 if signature[64] >= 27 else signature[64]
    s = int.from_bytes(signature[32:64], "big")
    # A high s is the same signature in a second spelling, which tokens refuse.
    if v not in (0, 1) or not 0 < s <= ORDER // 2:
        return None
    try:
        key = PublicKey.from_signature_and_message(
            signature[:64] + bytes([v]), digest(authorization), hasher=None
        )
    except Exception:
        return None
    return "0x" + keccak(key.format(compressed=False)[1:])[12:].hex()


def refuse(code: str, message: str) -> None:
    raise PaymentInvalid(code, message)
