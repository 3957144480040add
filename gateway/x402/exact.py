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
# Some wallets count from 0.
LAST_BYTES = frozenset((0, 1, 27, 28))
NOT_SIGNED = "the payment is not signed by its payer"

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

# Of so many payers the key is remembered: to recover it is a fifth of the work of checking a signature.
KEYS_MAX = 4096
keys: dict[str, PublicKey] = {}


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
    message = keccak(TRANSFER_TYPE + words(authorization))
    return keccak(b"\x19\x01" + domain_separator(authorization.asset) + message)


def words(one: Authorization) -> bytes:
    """What was signed, as EIP-712 and the token's functions have it: a word for each member."""
    return b"".join(
        (
            word(one.payer),
            word(one.pay_to),
            one.amount.to_bytes(32, "big"),
            one.valid_after.to_bytes(32, "big"),
            one.valid_before.to_bytes(32, "big"),
            one.nonce,
        )
    )


@lru_cache(maxsize=4096)
def word(address: str) -> bytes:
    return PAD + bytes.fromhex(address[2:])


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
    known, signature = keys.get(authorization.payer), authorization.signature
    if known is None:
        return recover(authorization) == authorization.payer
    # Which of two points is meant, the last byte says and the token looks at: it says nothing of whose it is.
    # A high s is refused by the library.
    is_one = len(signature) == KEY_SIGNATURE_BYTES and signature[64] in LAST_BYTES
    return is_one and known.verify(encoded(signature), digest(authorization), hasher=None)


def recover(authorization: Authorization) -> str | None:
    """The address that signed, or None when no key can have. The payer's own key is remembered."""
    signature = authorization.signature
    if len(signature) != KEY_SIGNATURE_BYTES or signature[64] not in LAST_BYTES:
        return None
    v, s = signature[64] % 27, int.from_bytes(signature[32:64], "big")
    # A high s is the same signature in a second spelling, which tokens refuse.
    if not 0 < s <= ORDER // 2:
        return None
    try:
        key = PublicKey.from_signature_and_message(
            signature[:64] + bytes([v]), digest(authorization), hasher=None
        )
    except Exception:
        return None
    address = address_of(key)
    if address == authorization.payer:
        if len(keys) >= KEYS_MAX:
            keys.clear()
        keys[address] = key
    return address


def encoded(signature: bytes) -> bytes:
    """In DER, as the library takes it."""
    r, s = positive(signature[:32]), positive(signature[32:64])
    return b"\x30%c\x02%c%b\x02%c%b" % (len(r) + len(s) + 4, len(r), r, len(s), s)


def positive(octets: bytes) -> bytes:
    """An integer of DER: as short as can be, without a sign in its first bit."""
    short = octets.lstrip(b"\0")
    return short if short[:1] < b"\x80" and short else b"\0" + short


def address_of(key: PublicKey) -> str:
    return "0x" + keccak(key.format(compressed=False)[1:])[12:].hex()


def refuse(code: str, message: str) -> None:
    raise PaymentInvalid(code, message)
