"""What a remote facilitator is asked to verify, and to settle: the same for the same payment, in whatever
version it was paid.

It is written by hand: all that is another in each payment is digits.
"""

from functools import lru_cache
from typing import Any

import msgspec
from eth_utils.address import to_checksum_address

from gateway.types import Asset
from gateway.x402 import wire
from gateway.x402.facilitator import Authorization
from gateway.x402.wire import Requirement

QUESTION = (
    b'{"x402Version":2,"paymentPayload":{"x402Version":2,"accepted":%b,"payload":{"signature":"0x%b",'
    b'"authorization":{"from":"%b","to":"%b","value":"%d","validAfter":"%d","validBefore":"%d","nonce":"0x%b"}}},'
    b'"paymentRequirements":%b}'
)


def question(one: Authorization, network: str) -> bytes:
    terms = terms_of(one.asset, one.amount, one.pay_to, network)
    payer, pay_to = checksummed(one.payer).encode(), checksummed(one.pay_to).encode()
    signature, nonce = one.signature.hex().encode(), one.nonce.hex().encode()
    return QUESTION % (
        terms, signature, payer, pay_to, one.amount, one.valid_after, one.valid_before, nonce, terms,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def terms_of(asset: Asset, amount: int, pay_to: str, network: str) -> bytes:
    """As they are written, twice in each question for each payment of a price."""
    terms: dict[str, Any] = wire.offer_v2(Requirement(asset, amount, pay_to, wire.TIMEOUT_SECONDS, network))
    for name in ("asset", "payTo"):
        terms[name] = checksummed(terms[name])
    return msgspec.json.encode(terms)


@lru_cache(maxsize=4096)
def checksummed(address: str) -> str:
    """Some libraries that facilitators are made of take addresses with their checksum only (EIP-55)."""
    return to_checksum_address(address)
