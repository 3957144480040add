"""Passwords of Postgres roles: made here, sent to a server as a verifier only, encrypted for who asks."""

import base64
import hashlib
import hmac
import secrets
import string
from uuid import UUID

from gateway.kit import crypto
from gateway.kit.crypto import CannotOpen, Keyring

LENGTH = 32
ALPHABET = string.ascii_letters + string.digits
# What Postgres takes by default; a password of 190 random bits gains nothing by more.
ITERATIONS = 4096
SALT_BYTES = 16


def fresh() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def verifier(password: str, salt: bytes | None = None) -> str:
    """As Postgres stores it, RFC 5802. From it nobody gets the password back, or logs in elsewhere."""
    salt = salt or secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    keys = f"{base64.b64encode(stored_key).decode()}:{base64.b64encode(server_key).decode()}"
    return f"SCRAM-SHA-256${ITERATIONS}:{base64.b64encode(salt).decode()}${keys}"


def seal(keyring: Keyring, project_id: UUID, role_id: UUID, password: str) -> bytes:
    """Bound to its project rather than its organization, because projects move."""
    return keyring.seal(password.encode(), crypto.context(project_id, role_id))


def opened(keyring: Keyring, project_id: UUID, role_id: UUID, sealed: bytes | None) -> str | None:
    """None where we never knew it, or its key was taken out of the settings."""
    if sealed is None:
        return None
    try:
        return keyring.open(sealed, crypto.context(project_id, role_id)).decode()
    except CannotOpen:
        return None
