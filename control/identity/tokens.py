"""Access tokens: JWTs that name a session, for a quarter of an hour. The database knows whether it still is.

The keys that sign are derived from the encryption keys: all processes have the same ones, the newest signs,
and each that is still in the settings is believed.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from gateway.kit.crypto import Keyring

ALGORITHM = "HS256"
# Not the origin: processes behind one balancer may each listen elsewhere. The keys are one installation's.
ISSUER = "farebox"
AUDIENCE = "farebox"
# Other uses of the same secret have another one, so that no two derive the same key.
PURPOSE = b"farebox access tokens, HMAC-SHA256, version 1"
REQUIRED = ["iss", "aud", "sub", "sid", "iat", "exp", "jti"]


@dataclass(frozen=True, slots=True)
class Bearer:
    user_id: UUID
    session_id: UUID


def issue(keyring: Keyring, bearer: Bearer, lifetime: timedelta) -> str:
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(bearer.user_id),
        "sid": str(bearer.session_id),
        "iat": now,
        "exp": now + lifetime,
        "jti": secrets.token_urlsafe(12),
    }
    key = keyring.derive(keyring.current, PURPOSE)
    return jwt.encode(claims, key, ALGORITHM, headers={"kid": keyring.current})


def read(keyring: Keyring, token: str) -> Bearer | None:
    """None for what we did not sign, or what is over."""
    try:
        # Only to choose among our own keys: whatever it says, the signature is checked with the one it names.
        name = jwt.get_unverified_header(token).get("kid", "")
        if name not in keyring.ciphers:
            return None
        claims = jwt.decode(
            token,
            keyring.derive(name, PURPOSE),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": REQUIRED},
        )
        return Bearer(UUID(claims["sub"]), UUID(claims["sid"]))
    except (jwt.InvalidTokenError, ValueError):
        return None
