"""The JSON of payments, as payers send it: members that mean something here, in their strict types."""

from typing import Annotated, Any, Literal

import msgspec


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
