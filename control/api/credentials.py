"""Who is asking? What somebody may do is for ``access`` to say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from control.api import permissions
from control.identity import secret_words, sessions, tokens
from control.identity.sessions import Lifetimes
from gateway.kit import keys
from gateway.kit.crypto import Keyring
from gateway.kit.problem import Refusal, Unauthorized
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

Mode: TypeAlias = Literal["live", "test"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class ForeignOrigin(Refusal):
    status, slug, title = 403, "csrf-origin-rejected", "This page may not act for its visitor"


@dataclass(frozen=True, slots=True)
class Credential:
    """A user, and what they showed to be known by."""

    user_id: UUID
    id: UUID
    """The API key's, or the session's."""
    organization_id: UUID
    """Where they act when a request names no organization."""
    mode: Mode
    scopes: frozenset[str] | None
    """None where it may do whatever its user may."""
    kind: Literal["key", "session"] = "key"
    project_id: UUID | None = None
    """The only one that it acts in, for a project's key."""
    is_capped: bool = False
    """Whether what it may spend is limited."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What of a request says who sends it."""

    method: str
    headers: Mapping[str, str]
    origin: str
    """Ours, which a browser's page must have."""
    keyring: Keyring
    mode: Mode
    """The money of a session: it has none of its own to choose."""
    lifetimes: Lifetimes


async def present(db: Db, asking: Asking) -> Credential:
    """Raise ``Unauthorized`` for a request that shows nothing valid.

    A bearer token goes before a cookie: whoever sends one means it, and no page can be made to send it.
    """
    authorization = asking.headers.get("Authorization")
    if authorization is not None:
        found = await by_token(db, asking, authorization)
    else:
        found = await by_cookie(db, asking)
    if found is None:
        raise Unauthorized("send a valid API key or access token as a bearer token")
    return found


async def by_token(db: Db, asking: Asking, authorization: str) -> Credential | None:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return None
    # A mistyped key fails its checksum here and costs no query, like a token that we did not sign.
    if keys.is_well_formed(token):
        return by_key(await db.fetchrow(SQL.find_key, keys.fingerprint(token)))
    bearer = tokens.read(asking.keyring, token)
    if bearer is None:
        return None
    # Asked for each time: a session that was revoked is over for every process at once.
    return by_session(await db.fetchrow(SQL.find_session, bearer.session_id, bearer.user_id), asking.mode)


def by_key(row: Record | None) -> Credential | None:
    if row is None:
        return None
    scopes = None if row["scopes"] is None else frozenset(row["scopes"])
    if row["project_role"] is not None:
        scopes = permissions.of_project(row["project_role"])
    return Credential(
        row["user_id"], row["id"], row["organization_id"], row["mode"], scopes, "key", row["project_id"],
        row["is_capped"],
    )  # fmt: skip


async def by_cookie(db: Db, asking: Asking) -> Credential | None:
    word = cookie_of(asking.headers, asking.origin)
    if word is None:
        return None
    row = await db.fetchrow(SQL.find_browser, secret_words.fingerprint(word))
    if row is None:
        return None
    if asking.method not in SAFE:
        require_own_page(asking.headers, asking.origin)
    if row["is_stale"]:
        # A program's session is kept alive by its refresh token, a browser's by being used.
        await sessions.touch(db, row["id"], asking.lifetimes)
    return by_session(row, asking.mode)


def by_session(row: Record | None, mode: Mode) -> Credential | None:
    if row is None:
        return None
    return Credential(row["user_id"], row["id"], row["organization_id"], mode, None, "session")


def require_own_page(headers: Mapping[str, str], origin: str) -> None:
    """Refuse what another site's page sends with our visitor's cookie.

    Browsers put ``Origin`` on every request that may change something, and no script can choose it.
    """
    if headers.get("Origin") != origin or headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise ForeignOrigin(f"with a cookie, requests that change something come from pages of {origin}")


def cookie_name(origin: str) -> str:
    """With https, one that browsers keep other hosts of the domain from setting (RFC 6265bis, 4.1.3.2)."""
    return "__Host-farebox" if origin.startswith("https:") else "farebox"


def cookie_of(headers: Mapping[str, str], origin: str) -> str | None:
    try:
        found = SimpleCookie(headers.get("Cookie", "")).get(cookie_name(origin))
    except CookieError:
        return None
    return found.value if found is not None and found.value else None


def set_cookie(origin: str, word: str, lifetime: timedelta) -> str:
    """The value of ``Set-Cookie``; a lifetime of nothing takes the cookie away."""
    secure = "; Secure" if origin.startswith("https:") else ""
    seconds = int(lifetime.total_seconds())
    return f"{cookie_name(origin)}={word}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
