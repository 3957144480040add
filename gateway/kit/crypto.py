"""Sealing secrets for storage: AES-256-GCM under a named key, bound to the row they belong to.

A sealed message is

    1 byte    the version of this layout, 1
    1 byte    the length of the key's name
    n bytes   the key's name, ASCII
    12 bytes  a random nonce
    the rest  the ciphertext and its 16-byte tag

and everything before the nonce is authenticated together with the context. Random nonces are safe for 2^32
messages a key (NIST SP 800-38D, section 8.3), more than a gateway has secrets.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = 1
NONCE_BYTES = 12
TAG_BYTES = 16
KEY_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class CannotOpen(Exception):
    """A sealed message is of no use here. A subclass says why."""


class UnknownKey(CannotOpen):
    """It was sealed under a key that this keyring does not have."""


class Tampered(CannotOpen):
    """It was changed, or it belongs to another row."""


def context(organization_id: UUID, row_id: UUID) -> bytes:
    """What binds a secret to its place: a ciphertext copied to another row does not open there."""
    return organization_id.bytes + row_id.bytes


def new_key(name: str) -> str:
    """Return a fresh key in the form that ``Keyring.parse`` and the settings take."""
    if NAME.fullmatch(name) is None:
        raise ValueError("a key's name is 1 to 64 letters, digits, dots, dashes and underscores")
    return f"{name}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The first key seals; every key opens."""

    current: str
    ciphers: Mapping[str, AESGCM] = field(repr=False)
    roots: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, keys: Sequence[str]) -> "Keyring":
        """Read keys written ``name:base64``, newest first. ValueError tells which one is wrong."""
        if not keys:
            raise ValueError("there is no encryption key")
        roots: dict[str, bytes] = {}
        for position, text in enumerate(keys, 1):
            name, key = parse_key(text, position)
            if name in roots:
                raise ValueError(f"encryption key {position} has the name of an earlier one")
            roots[name] = key
        return cls(next(iter(roots)), {name: AESGCM(key) for name, key in roots.items()}, roots)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        header = bytes([VERSION, len(self.current)]) + self.current.encode()
        nonce = secrets.token_bytes(NONCE_BYTES)
        return header + nonce + self.ciphers[self.current].encrypt(nonce, plaintext, header + context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        header, nonce, ciphertext = split(sealed)
        name = key_name(header)
        if name not in self.ciphers:
            raise UnknownKey(f"sealed under the key {name!r}, which is not in the settings")
        try:
            return self.ciphers[name].decrypt(nonce, ciphertext, header + context)
        except InvalidTag:
            raise Tampered("changed since it was sealed, or sealed for another row") from None

    def derive(self, name: str, purpose: bytes) -> bytes:
        """Return a key for another purpose: the same in all processes, and it retires with its root."""
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(self.roots[name])

    def is_current(self, sealed: bytes) -> bool:
        """False for what should be sealed again, so that an older key can be retired."""
        header, _, _ = split(sealed)
        return key_name(header) == self.current


def parse_key(text: str, position: int) -> tuple[str, bytes]:
    name, _, encoded = text.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if NAME.fullmatch(name) is None or len(key) != KEY_BYTES:
        raise ValueError(f"encryption key {position} is not a name, a colon and {KEY_BYTES} bytes in base64")
    return name, key


def split(sealed: bytes) -> tuple[bytes, bytes, bytes]:
    """The header, the nonce and the ciphertext."""
    header_length = 2 + sealed[1] if len(sealed) >= 2 else 0
    if len(sealed) < max(2, header_length) + NONCE_BYTES + TAG_BYTES or sealed[0] != VERSION:
        raise Tampered("not a sealed message")
    nonce_end = header_length + NONCE_BYTES
    return sealed[:header_length], sealed[header_length:nonce_end], sealed[nonce_end:]


def key_name(header: bytes) -> str:
    # The name is not yet authenticated: it may be any bytes at all.
    return header[2:].decode("ascii", "replace")
