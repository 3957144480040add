"""SCRAM-SHA-256 (RFC 5802 and 7677) on both sides of the proxy: no bytes are moved here.

Towards a client we are the server, with the stored verifier. A proof that fits lets us compute the client's
key, and with that we are the client towards its database: no password is known, here or there.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from gateway.pgwire.messages import Fatal, violation

PLAIN, PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
ITERATIONS = 4096
BINDING = "p=tls-server-end-point"
NONCE_BYTES = 18

VERIFIER = re.compile(
    r"SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})"
)
# No comma and nothing that cannot be printed, in what is echoed.
FIRST = re.compile(r"n=[^,]*,r=([\x21-\x2b\x2d-\x7e]{1,256})")
FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)),p=([A-Za-z0-9+/=]+)")
SERVER_FIRST = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Verifier:
    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """What is left of a proof: enough to log in to a server that has the same verifier."""

    client_key: bytes
    stored_key: bytes
    server_key: bytes


def parse(text: str) -> Verifier | None:
    found = VERIFIER.fullmatch(text)
    if found is None:
        return None
    try:
        salt, stored, server = (base64.b64decode(part, validate=True) for part in found.groups()[1:])
    except binascii.Error:
        # Whoever may change a role's password may write any that its server takes for one.
        return None
    return Verifier(int(found[1]), salt, stored, server)


def mocked(secret: bytes, label: str, role: str) -> Verifier:
    """For whoever does not exist: always the same, as that of somebody who does would be."""
    salt = mac(secret, f"{label}\0{role}".encode())[:16]
    return Verifier(ITERATIONS, salt, secrets.token_bytes(32), secrets.token_bytes(32))


class Exchange:
    """One client's attempt, which cannot be had again: the nonce is half ours and used once."""

    def __init__(self, verifier: Verifier, end_point: bytes | None) -> None:
        """``end_point`` is the hash of our certificate, where the connection has one."""
        self.verifier, self.end_point = verifier, end_point

    def offered(self) -> bytes:
        names = [PLUS, PLAIN] if self.end_point is not None else [PLAIN]
        return b"".join(name.encode() + b"\0" for name in names) + b"\0"

    def first(self, mechanism: str, said: str) -> str:
        if mechanism not in (PLAIN, PLUS) or (mechanism == PLUS and self.end_point is None):
            raise violation("the client chose an authentication mechanism that was not offered")
        binding, _, rest = said.partition(",")
        authorized, _, bare = rest.partition(",")
        found = FIRST.fullmatch(bare)
        if authorized or found is None:
            raise violation("malformed SCRAM message")
        self.refuse_other_binding(mechanism, binding)
        self.header = f"{binding},,".encode()
        if mechanism == PLUS:
            assert self.end_point is not None
            self.header += self.end_point
        self.nonce = found[1] + encoded(secrets.token_bytes(NONCE_BYTES))
        answer = f"r={self.nonce},s={encoded(self.verifier.salt)},i={self.verifier.iterations}"
        self.spoken = f"{bare},{answer}"
        return answer

    def refuse_other_binding(self, mechanism: str, binding: str) -> None:
        if mechanism == PLUS:
            if binding != BINDING:
                raise violation("unsupported SCRAM channel-binding type")
        elif binding == "y" and self.end_point is not None:
            # It can bind and believes that we cannot: somebody between us took the better mechanism out.
            raise Fatal("28000", "SCRAM channel binding negotiation error")
        elif binding not in ("n", "y"):
            raise violation("malformed SCRAM message")

    def final(self, said: str) -> tuple[Keys, str] | None:
        """What was proven, and our own proof to be sent; None for a wrong password."""
        found = FINAL.fullmatch(said)
        if found is None:
            raise violation("malformed SCRAM message")
        if not hmac.compare_digest(decoded(found[2]), self.header):
            raise Fatal("28000", "SCRAM channel binding check failed")
        proof = decoded(found[4])
        if found[3] != self.nonce or len(proof) != hashlib.sha256().digest_size:
            raise violation("malformed SCRAM message")
        spoken = f"{self.spoken},{found[1]}".encode()
        client_key = xor(proof, mac(self.verifier.stored_key, spoken))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), self.verifier.stored_key):
            return None
        signature = mac(self.verifier.server_key, spoken)
        keys = Keys(client_key, self.verifier.stored_key, self.verifier.server_key)
        return keys, f"v={encoded(signature)}"


class Login:
    """Ours, to a database, with the keys that a client's proof left."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.nonce = encoded(secrets.token_bytes(NONCE_BYTES))
        self.bare = f"n=,r={self.nonce}"

    def first(self) -> str:
        return f"n,,{self.bare}"

    def final(self, said: str) -> str:
        found = SERVER_FIRST.fullmatch(said)
        if found is None or not found[1].startswith(self.nonce):
            raise violation("the database spoke another authentication than SCRAM-SHA-256")
        without_proof = f"c=biws,r={found[1]}"
        self.spoken = f"{self.bare},{said},{without_proof}".encode()
        proof = xor(self.keys.client_key, mac(self.keys.stored_key, self.spoken))
        return f"{without_proof},p={encoded(proof)}"

    def is_genuine(self, said: str) -> bool:
        return hmac.compare_digest(said, f"v={encoded(mac(self.keys.server_key, self.spoken))}")


def mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise violation("malformed SCRAM message") from None
