"""Token exchange: a publisher turns our word for who calls into a token of its own, which its API then gets.

Our word is a short-lived JWT that names the caller's organization and the endpoint it is meant for. The
caller's key never leaves the gateway: whoever had it could spend the caller's money.
"""

import time
from collections.abc import Hashable, Mapping
from typing import Any
from uuid import UUID

from gateway.auth_mode import Token, TokenCache, UpstreamAuthFailed
from gateway.kit import documents, ids
from gateway.kit.fetch import Ask
from gateway.kit.signing import Signer
from gateway.options import Exchange

LIFETIME_SECONDS = 300
CLOCK_SKEW_SECONDS = 5
TOKENS_MAX = 10_000
DEFAULT_TTL_SECONDS = 3600
# RFC 8693 section 2.1, for the modes with room for it.
TERMS: Mapping[str, str] = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
}


def exchange_of(details: Mapping[str, Any]) -> Exchange | None:
    url = details.get("token_exchange_url")
    if not url:
        return None
    method, mode = (
        details.get("token_exchange_method") or "POST",
        details.get("token_exchange_mode") or "header",
    )
    # A GET has no body: what was to go there goes into the query.
    is_bodiless = method == "GET" and mode == "body"
    return Exchange(
        url=url,
        method=method,
        mode="query" if is_bodiless else mode,
        path=documents.steps(details.get("token_response_field") or "access_token"),
        ttl_seconds=details.get("token_cache_ttl_seconds") or DEFAULT_TTL_SECONDS,
        header=details.get("api_key_header") or "Authorization",
    )


class Exchanger:
    """The tokens of one process, by publisher and organization."""

    def __init__(self, ask: Ask, signer: Signer, issuer: str) -> None:
        self.ask, self.signer, self.issuer = ask, signer, issuer
        self.cache = TokenCache(TOKENS_MAX)

    async def headers(self, publisher_id: UUID, one: Exchange, organization_id: UUID) -> Mapping[str, str]:
        """What the upstream is sent in the organization's name."""

        async def make() -> Token:
            return await self.exchanged(one, organization_id)

        token = await self.cache.get(key(publisher_id, one, organization_id), make)
        return {one.header: f"Bearer {token}" if one.header.lower() == "authorization" else token}

    def forget(self, publisher_id: UUID, one: Exchange, organization_id: UUID) -> None:
        """The upstream did not take it: the next call brings a new one."""
        self.cache.kept.pop(key(publisher_id, one, organization_id), None)

    async def exchanged(self, one: Exchange, organization_id: UUID) -> Token:
        word = self.word(one, organization_id)
        terms = {**TERMS, "subject_token": word}
        headers = {"Authorization": f"Bearer {word}"} if one.mode == "header" else {}
        query = terms if one.mode == "query" else {}
        form = terms if one.mode == "body" else {}
        try:
            body = await self.ask(one.method, one.url, headers, query, form)
        except OSError as error:
            raise UpstreamAuthFailed(f"the publisher's token exchange gave no token: {error}") from error
        text = documents.at(one.path, body)
        if not isinstance(text, str) or not is_sendable(text):
            raise UpstreamAuthFailed("the publisher's token exchange gave no usable token")
        return Token(text, lifetime_seconds(documents.at(("expires_in",), body), one.ttl_seconds))

    def word(self, one: Exchange, organization_id: UUID) -> str:
        now = int(time.time())
        return self.signer.sign(
            {
                "iss": self.issuer,
                "sub": str(organization_id),
                "aud": one.url,
                "iat": now,
                "nbf": now - CLOCK_SKEW_SECONDS,
                "exp": now + LIFETIME_SECONDS,
                "jti": str(ids.new()),
            }
        )


def key(publisher_id: UUID, one: Exchange, organization_id: UUID) -> Hashable:
    return publisher_id, one, organization_id


def is_sendable(text: str) -> bool:
    return 0 < len(text) <= 16_384 and text.isascii() and text.isprintable() and text == text.strip()


def lifetime_seconds(said: object, ttl_seconds: int) -> int:
    """As long as the publisher asked for, unless the token itself lives shorter."""
    is_count = isinstance(said, int) and not isinstance(said, bool) and said > 0
    return min(said, ttl_seconds) if is_count and isinstance(said, int) else ttl_seconds
