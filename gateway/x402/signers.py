"""The keys that submit settlements and pay their gas, and what they sign."""

import asyncio
from dataclasses import dataclass
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_account import Account
from eth_account.signers.local import LocalAccount

from gateway.x402 import token
from gateway.x402.facilitator import Authorization
from gateway.x402.gas import Fees

DYNAMIC_FEE = 2


@dataclass(frozen=True, slots=True)
class Signed:
    hash: bytes
    raw: bytes


class Signer:
    """One key, in this process."""

    def __init__(self, key: str) -> None:
        self.account: LocalAccount = Account.from_key(key)
        self.address = self.account.address.lower()
        self.signing = asyncio.Lock()
        self.busy = 0
        """Payments that this process has submitted with it and not seen the end of."""
        self.has_gas_money = True

    def transfer(
        self, authorization: Authorization, chain_id: int, nonce: int, gas_limit: int, fees: Fees
    ) -> Signed:
        """Sign the transfer that a payer authorized."""
        return self.sign(
            {
                "chainId": chain_id,
                "nonce": nonce,
                "to": bytes.fromhex(authorization.asset.address[2:]),
                "data": token.transfer_with_authorization(authorization),
                "value": 0,
                "gas": gas_limit,
            },
            fees,
        )

    def again(self, raw: bytes, chain_id: int, fees: Fees) -> Signed:
        """Sign a transaction once more, with fees that let it replace what it was."""
        if raw[0] == DYNAMIC_FEE:
            _, nonce, tip, per_gas, gas, to, _, data, *_ = rlp.decode(raw[1:])
            fees = fees.above(number(per_gas), number(tip))
        else:
            nonce, per_gas, gas, to, _, data, *_ = rlp.decode(raw)
            fees = fees.above(number(per_gas), None)
        fields = {"nonce": number(nonce), "to": to, "data": data, "value": 0, "gas": number(gas)}
        return self.sign({"chainId": chain_id, **fields}, fees)

    def sign(self, fields: dict[str, Any], fees: Fees) -> Signed:
        if fees.tip is None:
            offer = {"gasPrice": fees.per_gas}
        else:
            # A tip above the whole fee is refused by every node.
            tip = min(fees.tip, fees.per_gas)
            offer = {"type": DYNAMIC_FEE, "maxFeePerGas": fees.per_gas, "maxPriorityFeePerGas": tip}
        signed = self.account.sign_transaction({**fields, **offer})
        return Signed(bytes(signed.hash), bytes(signed.raw_transaction))


def number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")
