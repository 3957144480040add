"""A caller's payment to a publisher's upstream, which asks for one itself: ``X-PAYMENT-UPSTREAM``.

It is read to know its version, what it pays and which payment it is, and is passed on. Whether it is good is
for the upstream to say.
"""

import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

HEADER = "X-PAYMENT-UPSTREAM"
# What the upstream takes it in, by the version of what it is.
UPSTREAM_HEADERS = {1: "X-PAYMENT", 2: "PAYMENT-SIGNATURE"}

HEADER_BYTES_MAX = 32 * 1024
AMOUNT = re.compile(r"0|[1-9][0-9]{0,38}", re.ASCII)
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
# What an EVM payer signs, EIP-3009 and Permit2, and the one way to write its nonce.
NONCES = {
    "authorization": re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII),
    "permit2Authorization": re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII),
}


@dataclass(frozen=True, slots=True)
class Bill:
    """What an upstream is paid, as far as anybody says."""

    network: str
    """CAIP-2, or version 1's name."""
    asset: str | None
    """None in a payment of version 1, which does not repeat it."""
    amount: int | None


@dataclass(frozen=True, slots=True)
class UpstreamPayment:
    header: str
    """What the upstream knows it by."""
    value: str
    bill: Bill
    identity: bytes
    """The same for every way to write this payment down."""


def read(header: str) -> UpstreamPayment:
    """ValueError says what is wrong with it, in words for its sender."""
    document = decoded(header)
    version, payload = document.get("x402Version"), document.get("payload")
    # Exactly that type: True and 1.0 are 1 to Python, and a list cannot be looked up.
    if type(version) is not int or version not in UPSTREAM_HEADERS or not isinstance(payload, dict):
        raise ValueError("is no x402 payment of version 1 or 2")
    accepted = document.get("accepted") if version == 2 else {}
    if not isinstance(accepted, dict):
        raise ValueError("does not repeat the offer that it accepts")
    name, message = signed(payload)
    # Servers differ in which of two members they read, and in whether case counts.
    if not all(map(is_unambiguous, (document, accepted, payload, message))):
        raise ValueError("has two members of one name")
    network = accepted.get("network") if version == 2 else document.get("network")
    asset = accepted.get("asset")
    if not isinstance(network, str) or not (asset is None or isinstance(asset, str)):
        raise ValueError("does not say its network and its asset in text")
    # Written anew, so that what is forwarded is what was read.
    value = binascii.b2a_base64(msgspec.json.encode(document), newline=False).decode("ascii")
    bill = Bill(network, asset, paid(accepted, message))
    return UpstreamPayment(UPSTREAM_HEADERS[version], value, bill, identity(name, message, payload))


def decoded(header: str) -> dict[str, Any]:
    if len(header) > HEADER_BYTES_MAX:
        raise ValueError(f"is longer than {HEADER_BYTES_MAX} bytes")
    try:
        document = msgspec.json.decode(binascii.a2b_base64(header.encode("ascii"), strict_mode=True))
    except (binascii.Error, UnicodeError, msgspec.MsgspecError, RecursionError):
        raise ValueError("is not base64 of JSON") from None
    if not isinstance(document, dict):
        raise ValueError("is not a JSON object")
    return document


def signed(payload: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The message that an EVM payer signed, and its name; nothing for what pays in some other way."""
    # In any case of letters: some servers read a name in all of them.
    found = [name for name in NONCES if name.casefold() in {one.casefold() for one in payload}]
    if not found:
        return "", {}
    if len(found) > 1 or not isinstance(message := payload.get(found[0]), dict):
        raise ValueError("has no payload of one kind")
    return found[0], message


def is_unambiguous(members: Mapping[str, Any]) -> bool:
    return len({name.casefold() for name in members}) == len(members)


def paid(accepted: Mapping[str, Any], message: Mapping[str, Any]) -> int | None:
    """The most that any part of it says, so that no part can make a fee smaller."""
    permitted = message.get("permitted")
    of_permit = permitted.get("amount") if isinstance(permitted, dict) else None
    said = [one for one in (accepted.get("amount"), message.get("value"), of_permit) if one is not None]
    amounts = [amount_of(one) for one in said]
    if None in amounts:
        raise ValueError("says an amount that is no number of atomic units")
    return max((one for one in amounts if one is not None), default=None)


def amount_of(text: object) -> int | None:
    """None for what is no amount, or more than any money there is."""
    return int(text) if isinstance(text, str) and AMOUNT.fullmatch(text) else None


def identity(name: str, message: Mapping[str, Any], payload: Mapping[str, Any]) -> bytes:
    """By payer and nonce, which a payment is spent by, whatever else is written differently."""
    if not name:
        return hashlib.sha256(msgspec.json.encode(payload, order="deterministic")).digest()
    payer, nonce = message.get("from"), message.get("nonce")
    if not (isinstance(payer, str) and ADDRESS.fullmatch(payer)):
        raise ValueError(f"{name}.from is not an address")
    if not (isinstance(nonce, str) and NONCES[name].fullmatch(nonce)):
        raise ValueError(f"{name}.nonce is not well formed")
    return hashlib.sha256(f"{name} {payer} {nonce}".lower().encode()).digest()
