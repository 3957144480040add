"""What payments look like on the wire: x402 version 2 headers and version 1 headers and body.

Source: x402 specification v2 sections 5 and 9, transports-v2/http and transports-v1/http. Sans-io: text in,
values out. Numbers travel as decimal strings and are parsed as strictly as they are signed.
"""

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import msgspec

from gateway.kit.values import dataclass
from gateway.types import Asset
from gateway.x402.facilitator import Authorization, PaymentInvalid
from gateway.x402.shapes import (
    NONCE_BYTES,
    SIGNATURE_BYTES_MAX,
    V1,
    V2,
    AcceptedV2,
    Message,
    address,
    number,
    octets,
)

Version: TypeAlias = Literal[1, 2]

REQUIRED = "PAYMENT-REQUIRED"
RESPONSES: Mapping[Version, str] = {1: "X-PAYMENT-RESPONSE", 2: "PAYMENT-RESPONSE"}
HEADERS: Mapping[Version, str] = {1: "X-PAYMENT", 2: "PAYMENT-SIGNATURE"}

# A payment header is about 1 kB; this leaves room for extensions and none for mischief.
HEADER_BYTES_MAX = 32 * 1024

# How long a payer's authorization has to stay valid: an upstream call and a settlement fit in.
TIMEOUT_SECONDS = 300


class Malformed(Exception):
    """The header is not a payment at all."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One way to pay: scheme ``exact``, EIP-3009, in one asset."""

    asset: Asset
    amount: int
    pay_to: str
    timeout_seconds: int
    v1_network: str
    is_upfront: bool = False
    """Settled before the resource is made, rather than after."""

    @property
    def extra(self) -> dict[str, str]:
        """The EIP-712 domain, and the flow where it is not the usual one."""
        domain = {"name": self.asset.name, "version": self.asset.version}
        return {**domain, "paymentFlow": "upfront"} if self.is_upfront else domain


@dataclass(frozen=True, slots=True)
class Resource:
    url: str
    description: str
    mime_type: str = ""

    @property
    def without_query(self) -> "Resource":
        return replace(self, url=self.url.partition("?")[0])


@dataclass(frozen=True, slots=True)
class Presented:
    """A payment as it arrived, matched against nothing yet."""

    version: Version
    scheme: str
    network: str
    accepted: AcceptedV2 | None
    """The offer the payer says it accepted; version 1 repeats none."""
    resource_url: str | None
    signature: str
    message: Message
    identifier: str | None = None
    """What the payer calls the payment, by the extension payment-identifier."""


def present(version: Version, header: str) -> Presented:
    """Decode a payment header. ``Malformed`` says what it lacks, in words for its sender."""
    if len(header) > HEADER_BYTES_MAX:
        raise Malformed(f"is longer than {HEADER_BYTES_MAX} bytes")
    try:
        text = binascii.a2b_base64(header, strict_mode=True)
    except ValueError:
        raise Malformed("is not base64") from None
    return read(version, text)


def read(version: Version, text: bytes) -> Presented:
    """Read a payment from its JSON."""
    try:
        if version == 2:
            two = V2.decode(text)
            url = two.resource.url if two.resource else None
            signed = two.payload
            return Presented(
                2,
                two.accepted.scheme,
                two.accepted.network,
                two.accepted,
                url,
                signed.signature,
                signed.authorization,
                two.extensions.payment_identifier if two.extensions else None,
            )
        one = V1.decode(text)
        return Presented(
            1, one.scheme, one.network, None, None, one.payload.signature, one.payload.authorization
        )
    except msgspec.ValidationError as error:
        raise Malformed(f"is not an exact payment of version {version}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("is not base64 of JSON") from None


def asset_of(presented: Presented, requirements: Sequence[Requirement]) -> Asset:
    """The asset that this payment is in, at whatever price; ``PaymentInvalid`` when none here is meant."""
    if presented.scheme != "exact":
        raise PaymentInvalid("unsupported_scheme", f"the scheme {presented.scheme!r} is not offered")
    accepted = presented.accepted
    for one in requirements:
        is_network = presented.network in (one.asset.network, one.v1_network)
        if is_network and (accepted is None or accepted.asset.lower() == one.asset.address):
            return one.asset
    raise PaymentInvalid(
        "invalid_payment_requirements", "the payment matches none of the offers of this answer"
    )


def match(presented: Presented, requirements: Sequence[Requirement]) -> Requirement:
    """The offer that this payment accepts; ``PaymentInvalid`` when it accepts none of them."""
    if presented.scheme != "exact":
        raise PaymentInvalid("unsupported_scheme", f"the scheme {presented.scheme!r} is not offered")
    for requirement in requirements:
        if is_match(presented, requirement):
            return requirement
    raise PaymentInvalid(
        "invalid_payment_requirements", "the payment matches none of the offers of this answer"
    )


def is_match(presented: Presented, requirement: Requirement) -> bool:
    accepted = presented.accepted
    if accepted is None:
        names = (requirement.v1_network, requirement.asset.network)
        # Version 1 repeats no offer, so the signed message alone says what is paid.
        return presented.network in names and presented.message.to.lower() == requirement.pay_to
    return (
        accepted.network == requirement.asset.network
        and accepted.asset.lower() == requirement.asset.address
        and accepted.amount == str(requirement.amount)
        and accepted.pay_to.lower() == requirement.pay_to
        and is_domain(accepted.extra, requirement)
    )


def is_domain(extra: Mapping[str, Any], requirement: Requirement) -> bool:
    """Whether this says all that the offer's ``extra`` does."""
    asset = requirement.asset
    is_named = extra.get("name") == asset.name and extra.get("version") == asset.version
    return is_named and (not requirement.is_upfront or requirement.extra.items() <= extra.items())


def authorization(presented: Presented, asset: Asset) -> Authorization:
    """Parse what was signed. Decimal ASCII below 2**256, 20-byte addresses, a 32-byte nonce: nothing else."""
    message = presented.message
    return Authorization(
        asset,
        payer=address(message.payer, "from"),
        pay_to=address(message.to, "to"),
        amount=number(message.value, "value"),
        valid_after=number(message.valid_after, "validAfter"),
        valid_before=number(message.valid_before, "validBefore"),
        nonce=octets(message.nonce, "nonce", NONCE_BYTES, NONCE_BYTES),
        signature=octets(presented.signature, "signature", 1, SIGNATURE_BYTES_MAX),
    )


def challenge_v2(
    resource: Resource,
    requirements: Sequence[Requirement],
    error: str,
    extensions: Mapping[str, Any] | None = None,
) -> str:
    """The value of ``PAYMENT-REQUIRED``."""
    challenge = {
        "x402Version": 2,
        "error": error,
        "resource": {
            "url": resource.url, "description": resource.description, "mimeType": resource.mime_type,
        },
        "accepts": [offer_v2(one) for one in requirements],
    }  # fmt: skip
    return encode({**challenge, "extensions": extensions} if extensions else challenge)


def of_another(challenge: str, before: str, url: str) -> str:
    """The value of ``PAYMENT-REQUIRED`` that is about another URL, and all else the same."""
    said = binascii.a2b_base64(challenge)
    return binascii.b2a_base64(about(said, "url", before, url), newline=False).decode("ascii")


def about(said: bytes, member: str, before: str, url: str) -> bytes:
    """JSON with another URL in each member of this name. No text has its quotes as they are."""
    name = f'"{member}":'.encode()
    return said.replace(name + msgspec.json.encode(before), name + msgspec.json.encode(url))


def identifier_extension(*, is_required: bool) -> Mapping[str, Any]:
    """How a payer learns that it may give its payment a name, or has to."""
    form = {"type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[a-zA-Z0-9_-]+$"}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"required": {"type": "boolean"}, "id": form},
        "required": ["required"],
    }
    return {"payment-identifier": {"info": {"required": is_required}, "schema": schema}}


def offer_v2(requirement: Requirement) -> dict[str, Any]:
    return {
        "scheme": "exact",
        "network": requirement.asset.network,
        "amount": str(requirement.amount),
        "asset": requirement.asset.address,
        "payTo": requirement.pay_to,
        "maxTimeoutSeconds": requirement.timeout_seconds,
        "extra": requirement.extra,
    }


def offer_v1(resource: Resource, requirement: Requirement) -> dict[str, Any]:
    """An entry of ``accepts`` in the body of a version 1 challenge."""
    return {
        "scheme": "exact",
        "network": requirement.v1_network,
        "maxAmountRequired": str(requirement.amount),
        "resource": resource.url,
        "description": resource.description,
        "mimeType": resource.mime_type,
        "outputSchema": None,
        "payTo": requirement.pay_to,
        "maxTimeoutSeconds": requirement.timeout_seconds,
        "asset": requirement.asset.address,
        "extra": requirement.extra,
    }


def receipt(
    version: Version,
    network: str,
    transaction: str,
    payer: str,
    amount: int,
    failure: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> str:
    """The value of ``PAYMENT-RESPONSE``, for success and, with a reason, for failure."""
    out: dict[str, Any] = {
        "success": failure is None, "transaction": transaction, "network": network, "payer": payer,
    }  # fmt: skip
    if failure is not None:
        out["errorReason"] = failure
    elif version == 2:
        out["amount"] = str(amount)
    if extra:
        out["extra"] = extra
    return encode(out)


def encode(value: dict[str, Any]) -> str:
    return binascii.b2a_base64(msgspec.json.encode(value), newline=False).decode("ascii")
