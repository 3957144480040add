"""A payer whose key is remembered: it is told of a signature as one who never paid before is."""

import secrets
from dataclasses import replace

import pytest
from coincurve import PrivateKey

from gateway.x402 import exact
from gateway.x402.facilitator import Authorization
from tests.gateway.conftest import USDC

KEY = PrivateKey(b"\x07" * 32)
PAYER = exact.address_of(KEY.public_key)
UNSIGNED = Authorization(USDC, PAYER, "0x" + "c" * 40, 1000, 0, 10**10, bytes(32), b"")


def signed(one: Authorization = UNSIGNED, key: PrivateKey = KEY, count_from: int = 27) -> Authorization:
    signature = key.sign_recoverable(exact.digest(one), hasher=None)
    return replace(one, signature=signature[:64] + bytes([signature[64] + count_from]))


def high(one: Authorization) -> Authorization:
    """The same signature in its second spelling."""
    s = exact.ORDER - int.from_bytes(one.signature[32:64], "big")
    signature = one.signature[:32] + s.to_bytes(32, "big") + bytes([55 - one.signature[64]])
    return replace(one, signature=signature)


@pytest.fixture(autouse=True)
def known() -> None:
    exact.keys.clear()
    assert exact.is_signed_by_key(signed())
    assert PAYER in exact.keys


def test_what_it_signs_is_its_own_however_its_numbers_are_written() -> None:
    for _ in range(300):
        one = replace(UNSIGNED, nonce=secrets.token_bytes(32))
        assert exact.is_signed_by_key(signed(one))
        assert exact.is_signed_by_key(signed(one, count_from=0))


def test_what_another_key_signs_in_its_name_is_not() -> None:
    other = signed(key=PrivateKey(b"\x08" * 32))
    assert not exact.is_signed_by_key(other)
    exact.keys.clear()
    assert not exact.is_signed_by_key(other)
    assert not exact.keys


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 1001},
        {"pay_to": "0x" + "d" * 40},
        {"nonce": b"\x01" * 32},
        {"valid_before": 10**10 + 1},
        {"asset": replace(USDC, name="Another")},
    ],
)
def test_what_it_has_not_signed_is_not(change: dict[str, object]) -> None:
    assert not exact.is_signed_by_key(replace(signed(), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "signature",
    [b"", bytes(65), bytes(64) + b"\x1b", b"\xff" * 65, b"\xff" * 64 + b"\x1b", signed().signature[:64]],
)
def test_what_is_no_signature_is_not(signature: bytes) -> None:
    assert not exact.is_signed_by_key(replace(UNSIGNED, signature=signature))


def test_a_last_byte_that_tokens_do_not_take_is_not() -> None:
    one = signed()
    assert not exact.is_signed_by_key(replace(one, signature=one.signature[:64] + b"\x1d"))


def test_the_second_spelling_is_not() -> None:
    assert not exact.is_signed_by_key(high(signed()))


def test_no_more_are_remembered_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "KEYS_MAX", 3)
    for number in range(1, 10):
        key = PrivateKey(bytes([number]) * 32)
        one = replace(UNSIGNED, payer=exact.address_of(key.public_key))
        assert exact.is_signed_by_key(signed(one, key))
        assert len(exact.keys) <= 3
