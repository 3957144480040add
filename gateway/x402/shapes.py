"""The JSON of payments, as payers send it: what means something here, in strict types and forms."""

from functools import lru_cache
from typing import Annotated, Any, Literal, NoReturn

import msgspec

from gateway.x402.facilitator import PaymentInvalid

NUMBER_DIGITS_MAX = 78
ADDRESS_BYTES, NONCE_BYTES = 20, 32
# A key's has 65 bytes, a contract wallet's as many as it likes, within what a transaction can carry.
SIGNATURE_BYTES_MAX = 2048


class Message(msgspec.Struct, frozen=True, gc=False):
    payer: str = msgspec.field(name="from")
    to: str
    value: str
    valid_after: str = msgspec.field(name="validAfter")
    valid_before: str = msgspec.field(name="validBefore")
    nonce: str


class Signed(msgspec.Struct, frozen=True, gc=False):
    signature: str
    authorization: Message


class AcceptedV2(msgspec.Struct, frozen=True, gc=False):
    scheme: str
    network: str
    amount: str
    asset: str
    pay_to: str = msgspec.field(name="payTo")
    extra: dict[str, Any] = {}


class ResourceV2(msgspec.Struct, frozen=True, gc=False):
    url: str


class IdentifierInfo(msgspec.Struct, frozen=True, gc=False):
    id: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{16,128}\Z")] | None = None


class IdentifierExtension(msgspec.Struct, frozen=True, gc=False):
    info: IdentifierInfo


class ExtensionsV2(msgspec.Struct, frozen=True, gc=False):
    """Those that mean something here; a payer may bring others."""

    identifier: IdentifierExtension | None = msgspec.field(name="payment-identifier", default=None)

    @property
    def payment_identifier(self) -> str | None:
        return self.identifier.info.id if self.identifier else None


class PayloadV2(msgspec.Struct, frozen=True, gc=False):
    version: Literal[2] = msgspec.field(name="x402Version")
    accepted: AcceptedV2
    payload: Signed
    resource: ResourceV2 | None = None
    extensions: ExtensionsV2 | None = None


class PayloadV1(msgspec.Struct, frozen=True, gc=False):
    version: Literal[1] = msgspec.field(name="x402Version")
    scheme: str
    network: str
    payload: Signed


V2 = msgspec.json.Decoder(PayloadV2)
V1 = msgspec.json.Decoder(PayloadV1)


def address(text: str, name: str) -> str:
    # Only what is as long is remembered: strangers send it.
    return lowered(text, name) if len(text) == 2 + 2 * ADDRESS_BYTES else malformed(name)


@lru_cache(maxsize=4096)
def lowered(text: str, name: str) -> str:
    octets(text, name, ADDRESS_BYTES, ADDRESS_BYTES)
    return text.lower()


def number(text: str, name: str) -> int:
    is_canonical = text.isascii() and text.isdecimal() and (text[0] != "0" or text == "0")
    if not is_canonical or len(text) > NUMBER_DIGITS_MAX:
        malformed(name)
    value = int(text)
    if value >= 1 << 256:
        raise PaymentInvalid("invalid_payload", f"{name} does not fit into 256 bits")
    return value


def octets(text: str, name: str, least: int, most: int) -> bytes:
    """Of hexadecimal digits, and nothing between them: what reads them passes over spaces."""
    try:
        found = bytes.fromhex(text[2:])
    except ValueError:
        malformed(name)
    if text[:2] != "0x" or len(text) != 2 + 2 * len(found) or not least <= len(found) <= most:
        malformed(name)
    return found


def malformed(name: str) -> NoReturn:
    raise PaymentInvalid("invalid_payload", f"{name} is not well formed")
