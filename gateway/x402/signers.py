"""The keys that submit settlements and pay their gas, and what they sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import rlp  # type: ignore[import-untyped]
from coincurve import PrivateKey

from gateway.x402 import token
from gateway.x402.exact import address_of, keccak
from gateway.x402.facilitator import Authorization
from gateway.x402.gas import Fees
from gateway.x402.transactions import Signed

DYNAMIC_FEE = b"\x02"


@dataclass(frozen=True, slots=True)
class Fields:
    """What a transaction does, whatever it offers for that."""

    chain_id: int
    nonce: int
    gas: int
    to: bytes
    data: bytes


Item: TypeAlias = int | bytes | None
"""Of a transaction; None is an empty list."""


class Signer:
    """One key, in this process."""

    def __init__(self, key: str) -> None:
        self.key = PrivateKey(bytes.fromhex(key.removeprefix("0x")))
        self.address = address_of(self.key.public_key)
        self.busy = 0
        """Payments that this process has submitted with it and not seen the end of."""
        self.has_gas_money = True
        self.transfers_affordable = 1
        """How many of them its balance pays for, at most, if each takes all of its gas."""

    def transfer(
        self, authorization: Authorization, chain_id: int, nonce: int, gas_limit: int, fees: Fees
    ) -> Signed:
        """Sign the transfer that a payer authorized."""
        to = bytes.fromhex(authorization.asset.address[2:])
        data = token.transfer_with_authorization(authorization)
        return self.sign(Fields(chain_id, nonce, gas_limit, to, data), fees)

    def again(self, raw: bytes, chain_id: int, fees: Fees) -> Signed:
        """Sign a transaction once more, with fees that let it replace what it was."""
        if raw.startswith(DYNAMIC_FEE):
            _, nonce, tip, per_gas, gas, to, _, data, *_ = rlp.decode(raw[1:])
            fees = fees.above(number(per_gas), number(tip))
        else:
            nonce, per_gas, gas, to, _, data, *_ = rlp.decode(raw)
            fees = fees.above(number(per_gas), None)
        return self.sign(Fields(chain_id, number(nonce), number(gas), to, data), fees)

    def sign(self, fields: Fields, fees: Fees) -> Signed:
        """By hand, because eth-account takes ten times as long for the same bytes."""
        nonce, gas, to, data = fields.nonce, fields.gas, fields.to, fields.data
        if fees.tip is None:
            # EIP-155: the chain is signed in the place of the signature.
            unsigned: tuple[Item, ...] = (nonce, fees.per_gas, gas, to, 0, data)
            signature = self.key.sign_recoverable(keccak(encoded([*unsigned, fields.chain_id, 0, 0])), None)
            v = signature[64] + 35 + 2 * fields.chain_id
            raw = encoded([*unsigned, v, *halves(signature)])
        else:
            # EIP-1559. A tip above the whole fee is refused by every node.
            tip = min(fees.tip, fees.per_gas)
            dynamic: tuple[Item, ...] = (fields.chain_id, nonce, tip, fees.per_gas, gas, to, 0, data, None)
            signature = self.key.sign_recoverable(keccak(DYNAMIC_FEE + encoded(dynamic)), None)
            raw = DYNAMIC_FEE + encoded([*dynamic, signature[64], *halves(signature)])
        return Signed(keccak(raw), raw)


def encoded(fields: Sequence[Item]) -> bytes:
    """A list in recursive length prefixes.

    The library, which reads them below, looks into each field for more than there can be in a transaction.
    """
    body = b"".join([b"\xc0" if one is None else item(one) for one in fields])
    return prefix(0xC0, len(body)) + body


def item(value: int | bytes) -> bytes:
    """A number is its bytes without leading zeros."""
    octets = value.to_bytes((value.bit_length() + 7) // 8, "big") if isinstance(value, int) else value
    if len(octets) == 1 and octets[0] < 0x80:
        return octets
    return prefix(0x80, len(octets)) + octets


def prefix(kind: int, length: int) -> bytes:
    if length < 56:
        return bytes([kind + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([kind + 55 + len(size)]) + size


def halves(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")


def number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")
