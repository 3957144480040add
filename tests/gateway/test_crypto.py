import base64
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.kit import crypto
from gateway.kit.crypto import CannotOpen, Keyring, Tampered, UnknownKey

OLD, NEW = crypto.new_key("2025-01"), crypto.new_key("2026-11")
ORGANIZATION, ROW = UUID(int=1), UUID(int=2)
HERE = crypto.context(ORGANIZATION, ROW)
SECRET = b"sk-upstream-secret"


def test_what_is_sealed_opens_again() -> None:
    keyring = Keyring.parse([NEW])
    sealed = keyring.seal(SECRET, HERE)
    assert SECRET not in sealed
    assert keyring.open(sealed, HERE) == SECRET
    assert keyring.open(keyring.seal(b"", HERE), HERE) == b""


def test_the_layout_is_the_documented_one() -> None:
    name, _, key = NEW.partition(":")
    sealed = Keyring.parse([NEW]).seal(SECRET, HERE)
    header, nonce, rest = (
        sealed[: 2 + len(name)],
        sealed[2 + len(name) : 14 + len(name)],
        sealed[14 + len(name) :],
    )
    assert header == bytes([1, len(name)]) + name.encode()
    assert len(rest) == len(SECRET) + 16
    assert AESGCM(base64.b64decode(key)).decrypt(nonce, rest, header + HERE) == SECRET


def test_sealing_twice_gives_two_messages() -> None:
    keyring = Keyring.parse([NEW])
    assert len({keyring.seal(SECRET, HERE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "elsewhere",
    [
        crypto.context(UUID(int=3), ROW),           # another organization's row
        crypto.context(ORGANIZATION, UUID(int=3)),  # another row of the same organization
        crypto.context(ROW, ORGANIZATION),
        b"",
    ],
)  # fmt: skip
def test_a_secret_opens_only_in_its_own_row(elsewhere: bytes) -> None:
    keyring = Keyring.parse([NEW])
    with pytest.raises(Tampered):
        keyring.open(keyring.seal(SECRET, HERE), elsewhere)


def test_a_change_to_any_byte_is_noticed() -> None:
    keyring = Keyring.parse([NEW, OLD])
    sealed = keyring.seal(SECRET, HERE)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(CannotOpen):
            keyring.open(bytes(changed), HERE)


def test_a_message_cut_anywhere_is_refused() -> None:
    keyring = Keyring.parse([NEW])
    sealed = keyring.seal(b"x", HERE)
    for length in range(len(sealed)):
        with pytest.raises(CannotOpen):
            keyring.open(sealed[:length], HERE)


def test_keys_rotate() -> None:
    sealed = Keyring.parse([OLD]).seal(SECRET, HERE)
    both = Keyring.parse([NEW, OLD])
    assert both.open(sealed, HERE) == SECRET
    assert not both.is_current(sealed)
    resealed = both.seal(SECRET, HERE)
    assert both.is_current(resealed)
    only_new = Keyring.parse([NEW])
    assert only_new.open(resealed, HERE) == SECRET
    with pytest.raises(UnknownKey, match="2025-01"):
        only_new.open(sealed, HERE)


def test_another_key_of_the_same_name_does_not_open() -> None:
    sealed = Keyring.parse([NEW]).seal(SECRET, HERE)
    with pytest.raises(Tampered):
        Keyring.parse([crypto.new_key("2026-11")]).open(sealed, HERE)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [NEW, NEW],                       # which one would open?
        [NEW.partition(":")[2]],          # no name
        ["2026 11:" + "A" * 43 + "="],
        ["k:" + "A" * 42 + "=="],         # 31 bytes
        ["k:" + "A" * 44],                # 33 bytes
        ["k:" + "not base64!" * 4],
        ["k:" + "é" * 44],
    ],
)  # fmt: skip
def test_a_bad_key_is_refused_without_being_repeated(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="encryption key") as refused:
        Keyring.parse(keys)
    assert not any(key.partition(":")[2] and key.partition(":")[2] in str(refused.value) for key in keys)


def test_a_key_needs_a_plain_name() -> None:
    with pytest.raises(ValueError, match="name"):
        crypto.new_key("a:b")


def test_the_keys_are_never_shown() -> None:
    assert repr(Keyring.parse([NEW, OLD])) == "Keyring(current='2026-11')"
