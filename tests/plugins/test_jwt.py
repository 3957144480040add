import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from pydantic import ValidationError

from gateway.auth_mode import TokenCache
from gateway.types import Outbound
from plugins import jwt as plugin
from plugins.jwt import MODE

SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
REQUIRED = {"jwt_access_key": "ak-1", "jwt_secret_key": SECRET}


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> TokenCache:
    cache = TokenCache()
    monkeypatch.setattr(plugin, "TOKENS", cache)
    return cache


async def token(outbound: Outbound, settings: Mapping[str, Any]) -> str:
    vouched = await MODE.authorize(MODE.settings.model_validate({**REQUIRED, **settings}), outbound)
    assert vouched.query == {}
    scheme, _, text = vouched.headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    return text


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_the_upstream_can_verify_the_token(outbound: Callable[..., Outbound], algorithm: str) -> None:
    text = await token(outbound(), {"jwt_algorithm": algorithm, "jwt_expiration_seconds": 600})
    claims = jwt.decode(
        text, SECRET, algorithms=[algorithm], issuer="ak-1", options={"require": ["iat", "nbf", "exp"]}
    )
    assert claims["exp"] - claims["iat"] == 600
    assert claims["iat"] - claims["nbf"] == 5
    assert abs(claims["iat"] - time.time()) < 5
    assert jwt.get_unverified_header(text) == {"typ": "JWT", "alg": algorithm}


async def test_a_short_secret_that_a_vendor_issued_signs_too(outbound: Callable[..., Outbound]) -> None:
    text = await token(outbound(), {"jwt_secret_key": "0123456789abcdef", "jwt_algorithm": "HS512"})
    signed, _, signature = text.rpartition(".")
    expected = hmac.digest(b"0123456789abcdef", signed.encode(), hashlib.sha512)
    assert base64.urlsafe_b64decode(signature + "==") == expected
    assert json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))["iss"] == "ak-1"


async def test_a_token_is_made_anew_before_the_old_one_expires(
    outbound: Callable[..., Outbound], tokens: TokenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await token(outbound(), {})
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 100)
    assert await token(outbound(), {}) == first
    ((_, expires),) = tokens.kept.values()
    assert 1735 < expires - time.monotonic() <= 1740
    monkeypatch.setattr("time.monotonic", lambda: expires)
    assert await token(outbound(), {}) != first


async def test_publishers_with_other_keys_get_other_tokens(outbound: Callable[..., Outbound]) -> None:
    texts = [
        await token(outbound(), settings)
        for settings in ({}, {"jwt_access_key": "ak-2"}, {"jwt_secret_key": SECRET[::-1]})
    ]
    assert len(set(texts)) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"jwt_access_key": ""},
        {"jwt_access_key": None},
        {"jwt_secret_key": None},
        {"jwt_secret_key": "0123456789abcde"},       # 15 bytes can be guessed
        {"jwt_secret_key": "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"},
        {"jwt_algorithm": "none"},
        {"jwt_algorithm": "RS256"},
        {"jwt_expiration_seconds": 59},
        {"jwt_expiration_seconds": 86401},
        {"jwt_audience": "a"},
    ],
)  # fmt: skip
def test_what_cannot_be_signed_is_refused_when_saved(settings: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MODE.settings.model_validate({**REQUIRED, **settings})


def test_the_secret_is_never_shown() -> None:
    assert SECRET not in repr(MODE.settings.model_validate(REQUIRED))
