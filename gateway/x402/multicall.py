"""Many transfers in one transaction, through the contract Multicall3 where a network has it.

An authorization says who pays whom and not who sends it, so it is as good when a contract does. A call that
fails is passed over: what each payment came to is read from its own events.

Source: https://www.multicall3.com (``aggregate3``); EIP-3009; EIP-7825.
"""

from collections.abc import Sequence

from gateway.x402 import exact, token
from gateway.x402.facilitator import Authorization
from gateway.x402.token import selector, word

AGGREGATE = selector(b"aggregate3((address,bool,bytes)[])")
# Chains allow a transaction 16,777,216 of gas and some of them less; whoever asks for most of a block waits.
GAS_MAX = 10_000_000

ALLOW_FAILURE = (1).to_bytes(32, "big")
# Of a call's three members the third is not in its place: it follows them.
DATA_PLACE = (3 * 32).to_bytes(32, "big")


def can_share(authorization: Authorization) -> bool:
    """A wallet's own form of a signature is its own program, which could use up the gas of its neighbours."""
    return len(authorization.signature) == exact.KEY_SIGNATURE_BYTES


def aggregate(batch: Sequence[Authorization]) -> bytes:
    """The call that makes all of these transfers, each if it can be made."""
    calls = [encoded(one) for one in batch]
    place, places = 32 * len(calls), []
    for call in calls:
        places.append(place.to_bytes(32, "big"))
        place += len(call)
    head = (32).to_bytes(32, "big") + len(calls).to_bytes(32, "big")
    return AGGREGATE + head + b"".join(places) + b"".join(calls)


def encoded(one: Authorization) -> bytes:
    data = token.transfer_with_authorization(one)
    return word(one.asset.address) + ALLOW_FAILURE + DATA_PLACE + token.dynamic(data)
