"""The upstream wants a bearer token from an OAuth 2 token endpoint: client credentials, RFC 6749 section 4.4.

The client's id and secret travel in the form (section 2.3.1), the way that the fewest endpoints refuse.
"""

import json
import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from gateway.auth_mode import AuthMode, CalledUrl, ModeSettings, Token, TokenCache, UpstreamAuthFailed
from gateway.types import Outbound, Vouched

# For an endpoint that does not say how long its token lives.
LIFETIME_SECONDS = 300
# Any visible character: some vendors' tokens are not the base64 that RFC 6750 section 2.1 describes.
TOKEN = re.compile(r"[\x21-\x7e]{1,16384}", re.ASCII)
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+", re.ASCII)


def not_empty(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value():
        raise ValueError("must not be empty")
    return secret


def is_scope(scope: str) -> str:
    if SCOPE.fullmatch(scope) is None:
        raise ValueError(
            "a scope is visible ASCII without quotes, backslashes and spaces (RFC 6749 section 3.3)"
        )
    return scope


class Settings(ModeSettings, frozen=True):
    oauth2_token_url: CalledUrl
    oauth2_client_id: Annotated[str, Field(min_length=1, max_length=1024)]
    oauth2_client_secret: Annotated[SecretStr, Field(max_length=8192), AfterValidator(not_empty)]
    # A tuple, because settings are what tokens are kept by.
    oauth2_scopes: Annotated[
        tuple[Annotated[str, Field(max_length=256), AfterValidator(is_scope)], ...], Field(max_length=64)
    ] = ()


TOKENS = TokenCache()


async def authorize(settings: Settings, outbound: Outbound) -> Vouched:
    async def make() -> Token:
        return await ask(settings, outbound)

    return Vouched({"Authorization": f"Bearer {await TOKENS.get(settings, make)}"})


async def ask(settings: Settings, outbound: Outbound) -> Token:
    form = {
        "grant_type": "client_credentials",
        "client_id": settings.oauth2_client_id,
        "client_secret": settings.oauth2_client_secret.get_secret_value(),
    }
    if settings.oauth2_scopes:
        form["scope"] = " ".join(settings.oauth2_scopes)
    try:
        body = await outbound.fetch(settings.oauth2_token_url, form)
    except OSError as error:
        raise UpstreamAuthFailed(f"the publisher's token endpoint issued no token: {error}") from error
    return read(body)


def read(body: bytes) -> Token:
    """Read the answer, RFC 6749 section 5.1. A token without a type is taken for a bearer token."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise UpstreamAuthFailed("the publisher's token endpoint did not answer with a JSON object")
    kind, text = answer.get("token_type", "bearer"), answer.get("access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise UpstreamAuthFailed("the publisher's token endpoint issued a token that is not a bearer token")
    if not isinstance(text, str) or TOKEN.fullmatch(text) is None:
        raise UpstreamAuthFailed("the publisher's token endpoint issued no usable token")
    return Token(text, lifetime_seconds(answer.get("expires_in")))


def lifetime_seconds(value: object) -> float:
    # Some vendors write the number as a string.
    digits = str(value)
    is_count = isinstance(value, int | str) and digits.isascii() and digits.isdigit() and len(digits) < 16
    return int(digits) if is_count else LIFETIME_SECONDS


MODE = AuthMode(Settings, authorize)
