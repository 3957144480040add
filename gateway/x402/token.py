"""An EIP-3009 token on the wire: calls to it, and the events that say what it did."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from gateway.x402 import exact
from gateway.x402.exact import keccak, words
from gateway.x402.exact import word as word
from gateway.x402.facilitator import Authorization


def selector(signature: bytes) -> bytes:
    return keccak(signature)[:4]


TRANSFER_WITH_AUTHORIZATION = selector(
    b"transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"
)
TRANSFER_WITH_BYTES = selector(
    b"transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
)
AUTHORIZATION_STATE = selector(b"authorizationState(address,bytes32)")
BALANCE_OF = selector(b"balanceOf(address)")
DOMAIN_SEPARATOR = selector(b"DOMAIN_SEPARATOR()")

IS_VALID_SIGNATURE = selector(b"isValidSignature(bytes32,bytes)")
# What a wallet answers, and nothing like it: its selector in a word of its own.
IS_VALID = "0x" + IS_VALID_SIGNATURE.hex() + "00" * 28

TRANSFERRED = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
AUTHORIZATION_USED = "0x" + keccak(b"AuthorizationUsed(address,bytes32)").hex()
AUTHORIZATION_CANCELED = "0x" + keccak(b"AuthorizationCanceled(address,bytes32)").hex()

# What comes of reading a receipt that is written in some other way.
MISWRITTEN = KeyError, IndexError, TypeError, AttributeError, ValueError


def transfer_with_authorization(one: Authorization) -> bytes:
    message = words(one)
    signature = one.signature
    if len(signature) != exact.KEY_SIGNATURE_BYTES:
        # The seventh argument is the first whose place is not fixed: it follows the seven words.
        return TRANSFER_WITH_BYTES + message + (7 * 32).to_bytes(32, "big") + dynamic(signature)
    v = signature[64]
    # Some wallets count from 0; tokens take 27 and 28 only. A contract's bytes mean what the contract says.
    v = v + 27 if v < 2 and exact.is_signed_by_key(one) else v
    return TRANSFER_WITH_AUTHORIZATION + message + v.to_bytes(32, "big") + signature[:64]


def is_valid_signature(digest: bytes, signature: bytes) -> bytes:
    return IS_VALID_SIGNATURE + digest + (2 * 32).to_bytes(32, "big") + dynamic(signature)


def dynamic(octets: bytes) -> bytes:
    return len(octets).to_bytes(32, "big") + octets + bytes(-len(octets) % 32)


def authorization_state(payer: str, nonce: bytes) -> bytes:
    """True once the authorization was used or cancelled."""
    return AUTHORIZATION_STATE + word(payer) + nonce


def balance_of(owner: str) -> bytes:
    return BALANCE_OF + word(owner)


@lru_cache(maxsize=4096)
def topic(address: str) -> str:
    """An address as events have it."""
    return "0x" + word(address).hex()


def is_proof(
    receipt: Mapping[str, Any], asset: str, payer: str, pay_to: str, amount: int, nonce: bytes | None = None
) -> bool:
    return Proofs(receipt).are_of(asset, payer, pay_to, amount, nonce)


class Deeds:
    """What an asset says of somebody's money and authorizations, in one transaction."""

    __slots__ = ("is_legible", "moved", "transfers", "used")

    def __init__(self) -> None:
        self.is_legible = True
        self.used: set[str] = set()
        """Nonces of authorizations."""
        self.moved = 0
        self.transfers: set[tuple[str, int]] = set()
        """To whom, and how much."""

    def read(self, log: Mapping[str, Any]) -> None:
        try:
            event, _, last = log["topics"]
            event, last = event.lower(), last.lower()
            if event == AUTHORIZATION_USED:
                self.used.add(last)
            elif event == TRANSFERRED:
                self.moved += 1
                self.transfers.add((last, int(log["data"], 16)))
        except MISWRITTEN:
            self.is_legible = False


class Proofs:
    """What a transaction did, by the assets' own words: read once for all the payments that are in it."""

    __slots__ = ("deeds",)

    def __init__(self, receipt: Mapping[str, Any]) -> None:
        self.deeds: dict[tuple[str, str], Deeds] = {}
        """By asset, and by whose money or authorization they are about."""
        try:
            if int(receipt["status"], 16) != 1:
                return
            for log in receipt["logs"]:
                topics = log["topics"]
                if len(topics) == 3:
                    whose = log["address"].lower(), topics[1].lower()
                    (self.deeds.get(whose) or self.deeds.setdefault(whose, Deeds())).read(log)
        except MISWRITTEN:
            # A node that cannot write a receipt has not proved anything with it.
            self.deeds.clear()

    def are_of(self, asset: str, payer: str, pay_to: str, amount: int, nonce: bytes | None = None) -> bool:
        """Whether it did exactly what the payer signed.

        A payer may have signed the same for several payments of one transaction: its money moved for each
        authorization that the asset says it used. A transfer that nobody authorized has no ``nonce``.
        """
        one = self.deeds.get((asset, topic(payer)))
        if one is None or not one.is_legible or (topic(pay_to), amount) not in one.transfers:
            return False
        return (
            nonce is None or not one.used or ("0x" + nonce.hex() in one.used and one.moved >= len(one.used))
        )
