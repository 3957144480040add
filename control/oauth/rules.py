"""Where a browser is sent, decided without a database or a network."""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urlsplit

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def challenge(verifier: str) -> str:
    """S256: RFC 7636 section 4.2."""
    return base64.urlsafe_b64encode(digest(verifier)).decode().rstrip("=")


def may_return_to(url: str, origin: str, others: Sequence[str]) -> bool:
    """Whether a confirmation may be shown to whoever is at this URL.

    This installation, what its operator named, and programs on the user's own machine: RFC 8252 section 7.3.
    Anybody else could send a user to a provider, and keep the connection for themselves.
    """
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if host is None or "@" in parts.netloc or parts.fragment:
        return False
    if parts.scheme == "http" and host in LOOPBACK:
        return True
    return f"{parts.scheme}://{parts.netloc}" in (origin, *others)


def with_query(url: str, added: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(added)}"


def authorization_url(
    url: str, custom: Mapping[str, str], client_id: str, scopes: Sequence[str], sent: Mapping[str, str]
) -> str:
    """RFC 6749 section 4.1.1; nothing custom stands in for what the protocol says."""
    own = {"response_type": "code", "client_id": client_id, **sent}
    if scopes:
        own["scope"] = " ".join(scopes)
    return with_query(url, {**{name: value for name, value in custom.items() if name not in own}, **own})
