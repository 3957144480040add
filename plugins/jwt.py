"""The upstream wants a short-lived JWT (RFC 7519) that names an access key and is signed with its secret.

RFC 7518 section 3.2 asks for a secret as long as the hash. The vendor issued the secret and verifies with it,
and some issue shorter ones, so refusing those would only shut their publishers out: 16 bytes, still beyond
guessing, are the least that is taken.
"""

import json
import time
from typing import Annotated, Literal

from jwt import InvalidKeyError, PyJWS
from jwt.algorithms import HMACAlgorithm
from pydantic import AfterValidator, Field, SecretStr

from gateway.auth_mode import AuthMode, ModeSettings, Token, TokenCache
from gateway.types import Outbound, Vouched

SECRET_BYTES_MIN = 16
# The token is valid from a moment ago, because an upstream's clock may be behind.
CLOCK_SKEW_SECONDS = 5


class IssuedSecret(HMACAlgorithm):
    def check_key_length(self, key: bytes) -> str | None:
        """The settings have checked it, by the rule above instead of the library's."""
        return None


def usable(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text.encode()) < SECRET_BYTES_MIN:
        raise ValueError(f"must have at least {SECRET_BYTES_MIN} bytes")
    try:
        SIGNER.get_algorithm_by_name("HS256").prepare_key(text)
    except InvalidKeyError:
        raise ValueError("is a public key or a certificate, not a shared secret") from None
    return secret


SIGNER = PyJWS(algorithms=[])
SIGNER.register_algorithm("HS256", IssuedSecret(HMACAlgorithm.SHA256))
SIGNER.register_algorithm("HS384", IssuedSecret(HMACAlgorithm.SHA384))
SIGNER.register_algorithm("HS512", IssuedSecret(HMACAlgorithm.SHA512))
TOKENS = TokenCache()


class Settings(ModeSettings, frozen=True):
    jwt_access_key: Annotated[str, Field(min_length=1, max_length=1024)]
    jwt_secret_key: Annotated[SecretStr, Field(max_length=8192), AfterValidator(usable)]
    jwt_algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    jwt_expiration_seconds: Annotated[int, Field(ge=60, le=86_400)] = 1800


def sign(settings: Settings) -> str:
    now = int(time.time())
    claims = {
        "iss": settings.jwt_access_key,
        "iat": now,
        "nbf": now - CLOCK_SKEW_SECONDS,
        "exp": now + settings.jwt_expiration_seconds,
    }
    return SIGNER.encode(
        json.dumps(claims, separators=(",", ":")).encode(),
        settings.jwt_secret_key.get_secret_value().encode(),
        settings.jwt_algorithm,
    )


async def authorize(settings: Settings, outbound: Outbound) -> Vouched:
    async def make() -> Token:
        return Token(sign(settings), settings.jwt_expiration_seconds)

    return Vouched({"Authorization": f"Bearer {await TOKENS.get(settings, make)}"})


MODE = AuthMode(Settings, authorize)
