"""Many transfers in one transaction, through the contract Multicall3 where a network has it.

An authorization says who pays whom and not who sends it, so it is as good when a contract does. A call that
fails is passed over: what each payment came to is read from its own events.

Source: https://www.multicall3.com (``aggregate3``); EIP-3009; EIP-7825.
"""

from collections.abc import Iterable, Sequence

from gateway.x402 import exact, token
from gateway.x402.facilitator import Authorization
from gateway.x402.token import selector, word

AGGREGATE = selector(b"aggregate3((address,bool,bytes)[])")
# Chains allow a transaction 16,777,216 of gas and some of them less; whoever asks for most of a block waits.
GAS_MAX = 10_000_000

ALLOW_FAILURE = (1).to_bytes(32, "big")
# Of a call's three members the third is not in its place: it follows them.
DATA_PLACE = (3 * 32).to_bytes(32, "big")
SUCCESS = {(one << 256 | 2 * 32).to_bytes(64, "big"): bool(one) for one in (0, 1)}


def can_share(authorization: Authorization) -> bool:
    """A wallet's own form of a signature is its own program, which could use up the gas of its neighbours."""
    return len(authorization.signature) == exact.KEY_SIGNATURE_BYTES


def aggregate(batch: Sequence[Authorization]) -> bytes:
    """The call that makes all of these transfers, each if it can be made."""
    return aggregate_calls((one.asset.address, token.transfer_with_authorization(one)) for one in batch)


def aggregate_calls(targets: Iterable[tuple[str, bytes]]) -> bytes:
    """Whom to call, and with what."""
    calls = [word(to) + ALLOW_FAILURE + DATA_PLACE + token.dynamic(data) for to, data in targets]
    place, places = 32 * len(calls), []
    for call in calls:
        places.append(place.to_bytes(32, "big"))
        place += len(call)
    head = (32).to_bytes(32, "big") + len(calls).to_bytes(32, "big")
    return AGGREGATE + head + b"".join(places) + b"".join(calls)


def results(returned: bytes, count: int) -> list[bytes | None]:
    """What each of so many calls returned, None if it failed; ValueError if that is not what it says."""
    if number_at(returned, 0) != 32 or number_at(returned, 32) != count:
        raise ValueError("this is not about as many calls")
    return [result_at(returned, 64 + number_at(returned, 64 + 32 * place)) for place in range(count)]


def result_at(returned: bytes, at: int) -> bytes | None:
    # Two words, the second of which says that the bytes follow them.
    is_success = SUCCESS.get(returned[at : at + 64])
    size = number_at(returned, at + 64)
    data = returned[at + 96 : at + 96 + size]
    if is_success is None or len(data) < size:
        raise ValueError("this is not what a call came to")
    return data if is_success else None


def number_at(octets: bytes, at: int) -> int:
    word = octets[at : at + 32]
    if len(word) < 32:
        raise ValueError("it ends too early")
    return int.from_bytes(word, "big")
