"""What the gateway says of a caller, signed so that anybody can check it: JWTs with EdDSA (RFC 8037).

The signing keys are derived from the encryption keys, so every process has the same ones and nothing more is
to be kept; they change and retire together.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.kit.crypto import parse_key

# Other uses of the same secret have another one, so that no two derive the same key.
PURPOSE = b"farebox caller tokens, Ed25519, version 1"


@dataclass(frozen=True, slots=True)
class SigningKey:
    id: str
    private: Ed25519PrivateKey = field(repr=False)

    def public(self) -> dict[str, str]:
        """As a JSON Web Key."""
        x = base64.urlsafe_b64encode(self.private.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.id, "x": x}


@dataclass(frozen=True, slots=True)
class Signer:
    """The first key signs; whoever checks is told all of them."""

    keys: Sequence[SigningKey]

    @classmethod
    def parse(cls, keys: Sequence[str]) -> "Signer":
        """From the encryption keys of the settings, newest first."""
        return cls([derived(parse_key(text, position)[1]) for position, text in enumerate(keys, 1)])

    def sign(self, claims: Mapping[str, Any]) -> str:
        key = self.keys[0]
        return jwt.encode(dict(claims), key.private, algorithm="EdDSA", headers={"kid": key.id})

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.public() for key in self.keys]}


def derived(secret: bytes) -> SigningKey:
    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return SigningKey(hashlib.sha256(private.public_key().public_bytes_raw()).hexdigest()[:16], private)
