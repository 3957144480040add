import base64
import json
import time
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from gateway.x402 import exact, wire
from gateway.x402.facilitator import Authorization, PaymentInvalid
from gateway.x402.wire import Requirement
from tests.gateway.conftest import USDC

PAY_TO = "0x" + "c" * 40
OFFER = Requirement(USDC, 1000, PAY_TO, 300, "base-sepolia")
PAYER = Account.from_key("0x" + "22" * 32)
NOW = int(time.time())


def message(**change: str) -> dict[str, str]:
    return {
        "from": PAYER.address,
        "to": PAY_TO,
        "value": "1000",
        "validAfter": str(NOW - 60),
        "validBefore": str(NOW + 300),
        "nonce": "0x" + "ab" * 32,
        **change,
    }


def sign(fields: dict[str, str]) -> str:
    """With eth_account, an implementation of EIP-712 that is not ours."""
    names = ("from address", "to address", "value uint256", "validAfter uint256", "validBefore uint256")
    types = [dict(zip(("name", "type"), one.split(), strict=True)) for one in (*names, "nonce bytes32")]
    typed = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                "TransferWithAuthorization": types,
            },
            "primaryType": "TransferWithAuthorization",
            "domain": {
                "name": USDC.name,
                "version": USDC.version,
                "chainId": USDC.chain_id,
                "verifyingContract": USDC.address,
            },
            "message": {name: int(value) if value.isdecimal() else value for name, value in fields.items()},
        }
    )
    return "0x" + bytes(PAYER.sign_message(typed).signature).hex()


def header(payload: Any) -> str:
    return base64.b64encode(json.dumps(payload).encode()).decode()


def version_2(fields: dict[str, str], signature: str, **accepted: Any) -> dict[str, Any]:
    return {
        "x402Version": 2,
        "accepted": {**wire.offer_v2(OFFER), **accepted},
        "payload": {"signature": signature, "authorization": fields},
    }


def check(authorization: Authorization, requirement: Requirement, now: int) -> None:
    """As a request's payment is checked: terms first here, so that each test meets its own refusal."""
    exact.check_terms(authorization, requirement, now)
    if not exact.is_signed_by_key(authorization):
        raise PaymentInvalid("invalid_exact_evm_payload_signature", exact.NOT_SIGNED)


def test_a_payment_signed_by_another_implementation_is_accepted() -> None:
    fields = message()
    presented = wire.present(2, header(version_2(fields, sign(fields))))
    requirement = wire.match(presented, [OFFER])
    check(wire.authorization(presented, requirement.asset), requirement, NOW)


def test_version_1_is_accepted_by_its_network_name() -> None:
    fields = message()
    payload = {
        "x402Version": 1,
        "scheme": "exact",
        "network": "base-sepolia",
        "payload": {"signature": sign(fields), "authorization": fields},
    }
    presented = wire.present(1, header(payload))
    requirement = wire.match(presented, [OFFER])
    check(wire.authorization(presented, requirement.asset), requirement, NOW)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"value": "999"}, "invalid_exact_evm_payload_authorization_value_mismatch"),
        ({"value": "1001"}, "invalid_exact_evm_payload_authorization_value_mismatch"),
        ({"to": "0x" + "d" * 40}, "invalid_exact_evm_payload_recipient_mismatch"),
        ({"from": "0x" + "d" * 40}, "invalid_exact_evm_payload_signature"),
        ({"validAfter": str(NOW + 60)}, "invalid_exact_evm_payload_authorization_valid_after"),
        ({"validBefore": str(NOW + 5)}, "invalid_exact_evm_payload_authorization_valid_before"),
        ({"value": "1e3"}, "invalid_payload"),
        ({"value": "-1000"}, "invalid_payload"),
        ({"value": "01000"}, "invalid_payload"),
        ({"value": " 1000"}, "invalid_payload"),
        ({"value": "\u0661000"}, "invalid_payload"),  # digits, but not ASCII
        ({"value": "0x3e8"}, "invalid_payload"),
        ({"value": str(1 << 256)}, "invalid_payload"),
        ({"nonce": "0xab"}, "invalid_payload"),
        ({"from": "0x12"}, "invalid_payload"),
    ],
)
def test_a_payment_that_is_not_exactly_right_is_refused(change: dict[str, str], code: str) -> None:
    signature = sign(message())
    presented = wire.present(2, header(version_2(message(**change), signature)))
    with pytest.raises(PaymentInvalid) as refused:
        check(wire.authorization(presented, USDC), OFFER, NOW)
    assert refused.value.code == code


def test_signed_by_the_payer_but_with_other_terms_is_refused() -> None:
    """Every field is under the signature, so changing one after signing recovers somebody else."""
    for change in ({"nonce": "0x" + "cd" * 32}, {"validBefore": str(NOW + 301)}, {"validAfter": "0"}):
        presented = wire.present(2, header(version_2(message(**change), sign(message()))))
        with pytest.raises(PaymentInvalid, match="not signed"):
            check(wire.authorization(presented, USDC), OFFER, NOW)


def test_the_second_spelling_of_a_signature_is_refused() -> None:
    """EIP-2: for every (r, s, v) there is (r, n - s, 55 - v), which tokens do not take."""
    signature = bytes.fromhex(sign(message())[2:])
    s = exact.ORDER - int.from_bytes(signature[32:64], "big")
    high = signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])
    presented = wire.present(2, header(version_2(message(), "0x" + high.hex())))
    with pytest.raises(PaymentInvalid, match="not signed"):
        check(wire.authorization(presented, USDC), OFFER, NOW)


@pytest.mark.parametrize("signature", ["0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "11" * 64 + "1b"])
def test_a_signature_that_no_key_made_is_refused(signature: str) -> None:
    presented = wire.present(2, header(version_2(message(), signature)))
    with pytest.raises(PaymentInvalid, match="not signed"):
        check(wire.authorization(presented, USDC), OFFER, NOW)


@pytest.mark.parametrize(
    "accepted",
    [
        {"amount": "999"},
        {"payTo": "0x" + "d" * 40},
        {"asset": "0x" + "d" * 40},
        {"network": "eip155:1"},
        {"extra": {"name": "USDC", "version": "2"}},
        {"extra": {}},
    ],
)
def test_an_offer_that_was_never_made_matches_none(accepted: dict[str, Any]) -> None:
    presented = wire.present(2, header(version_2(message(), sign(message()), **accepted)))
    with pytest.raises(PaymentInvalid, match="none of the offers"):
        wire.match(presented, [OFFER])


@pytest.mark.parametrize(
    "text",
    [
        "", "%%%", "e30=", header([]), header({}), header("x"), header({"x402Version": 3}), "A" * 40_000,
        header(version_2(message(), "0x")).rstrip("=") + "!", "é", base64.b64encode(b"[" * 20_000).decode(),
        header({**version_2(message(), "0x"), "x402Version": "2"}),
        header({**version_2(message(), "0x"), "payload": {"signature": 1}}),
        # What is in it is no text.
        base64.b64encode(json.dumps(version_2(message(), "0x")).encode().replace(b"exact", b"\xff")).decode(),
    ],
)  # fmt: skip
def test_garbage_is_malformed(text: str) -> None:
    with pytest.raises(wire.Malformed):
        wire.present(2, text)


@given(st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_no_header_raises_anything_else(text: str) -> None:
    versions: tuple[wire.Version, ...] = (1, 2)
    for version in versions:
        try:
            wire.present(version, text)
        except wire.Malformed:
            continue


def test_the_challenge_says_what_the_official_client_parses() -> None:
    resource = wire.Resource("http://gateway.example/publishers/weather/now", "GET weather/now")
    challenge = json.loads(base64.b64decode(wire.challenge_v2(resource, [OFFER], "payment_required")))
    assert challenge["x402Version"] == 2
    assert challenge["accepts"] == [
        {
            "scheme": "exact",
            "network": "eip155:84532",
            "amount": "1000",
            "asset": USDC.address,
            "payTo": PAY_TO,
            "maxTimeoutSeconds": 300,
            "extra": {"name": "USDC", "version": "1"},
        }
    ]
