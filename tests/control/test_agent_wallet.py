"""The agent's payments hold before the gateway's own verification."""

from typing import Any

import pytest
from eth_account import Account

from control.agent import wallet
from gateway.kit import ids
from gateway.types import Asset
from gateway.x402 import exact
from gateway.x402.facilitator import Authorization

NOW = 1_800_000_000
ASSET = Asset(ids.new(), "eip155:84532", "0x" + "a5" * 20, "TUSD", "Test Dollar", "1", 6, "test")
TERMS = {
    "scheme": "exact",
    "asset": ASSET.address,
    "payTo": "0x" + "b0" * 20,
    "maxTimeoutSeconds": 60,
    "extra": {"name": ASSET.name, "version": ASSET.version},
}


@pytest.mark.parametrize(
    ("terms", "known"),
    [
        ({"network": "eip155:84532", "amount": "1500"}, {}),                             # version 2
        ({"network": "base-sepolia", "maxAmountRequired": "1500"}, {"chain_id": 84532}),  # version 1
    ],
)  # fmt: skip
def test_a_payment_is_signed_by_its_payer(terms: dict[str, str], known: dict[str, Any]) -> None:
    payer = Account.create()
    signed = wallet.sign_payment(payer.key, {**TERMS, **terms}, NOW, **known)
    one = signed["authorization"]
    assert all(isinstance(value, str) for value in one.values())
    assert (one["value"], one["validBefore"]) == ("1500", str(NOW + 60))
    assert int(one["validAfter"]) < NOW
    authorization = Authorization(
        ASSET, payer.address.lower(), one["to"], int(one["value"]), int(one["validAfter"]),
        int(one["validBefore"]), bytes.fromhex(one["nonce"][2:]), bytes.fromhex(signed["signature"][2:]),
    )  # fmt: skip
    assert exact.recover(authorization) == payer.address.lower()


def test_no_two_payments_share_a_nonce() -> None:
    terms = {**TERMS, "network": "eip155:84532", "amount": "1"}
    key = Account.create().key
    signed = [wallet.sign_payment(key, terms, NOW)["authorization"]["nonce"] for _ in range(20)]
    assert len(set(signed)) == 20
