"""Calls in the caller's own name: tokens that users have of a provider, kept, renewed, given to the upstream.

A publisher with ``requires_user_oauth`` gets the token of whoever calls. It is looked up, and renewed if it
has to be, before any money moves.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
from asyncpg import Record

from gateway.auth_mode import UpstreamAuthFailed
from gateway.exchange import is_sendable
from gateway.kit import ids, tasks
from gateway.kit.crypto import CannotOpen, Keyring, context
from gateway.kit.fetch import Ask, FetchFailed, FetchRefused
from gateway.kit.problem import Problem, Refusal
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger.accounts import PLATFORM
from gateway.types import Caller, Match

SQL = Statements(__file__)

WAIT_SECONDS = 12.0
POLL_SECONDS = 0.1
LIFETIME_SECONDS_MAX = 10 * 365 * 86_400


class ConnectionRequired(Refusal):
    """Tells where to connect."""

    status, slug, title = 403, "connection-required", "Connect an account first"

    def __init__(self, detail: str, connect_url: str) -> None:
        super().__init__(detail)
        self.connect_url = connect_url

    def problem(self) -> Problem:
        return super().problem().model_copy(update={"connect_url": self.connect_url})


@dataclass(frozen=True, slots=True)
class Client:
    """What we are to a provider."""

    token_url: str
    client_id: str
    secret: str = field(repr=False)
    method: str


@dataclass(frozen=True, slots=True)
class Tokens:
    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    lifetime: timedelta | None
    scopes: Sequence[str] | None
    """None where the provider does not say: then it is what was asked for."""


@dataclass(frozen=True, slots=True)
class Connections:
    pool: Pool
    keyring: Keyring
    ask: Ask
    origin: str

    async def speak(self, match: Match, caller: Caller) -> Caller:
        """The caller with the token that the upstream gets; most publishers want none."""
        provider_id = match.route.oauth_provider_id
        if provider_id is None:
            return caller
        async with asyncio.timeout(WAIT_SECONDS + 5):
            return replace(caller, token=await self.token(provider_id, match.route.slug, caller))

    async def token(self, provider_id: UUID, slug: str, caller: Caller) -> str:
        for _ in range(round(WAIT_SECONDS / POLL_SECONDS)):
            row = await self.pool.fetchrow(SQL.find, provider_id, caller.organization_id, caller.user_id)
            if row is None:
                url = f"{self.origin}/oauth/providers/{provider_id}/authorize"
                raise ConnectionRequired(
                    f"{slug} acts for you in an account of yours: GET {url} with this key, and open its "
                    "Location in a browser",
                    url,
                )
            if not row["is_stale"]:
                return self.opened(row, "access_sealed")
            if row["refresh_sealed"] is None and not row["is_over"]:
                return self.opened(row, "access_sealed")
            if await self.pool.fetchval(SQL.take_refresh, row["id"], row["access_sealed"]) is not None:
                # A caller who hangs up must not lose a token that the provider has already replaced.
                await tasks.finish(self.refresh(row))
            else:
                await asyncio.sleep(POLL_SECONDS)
        raise UpstreamAuthFailed("the provider gave no new token in time; nothing was charged")

    async def refresh(self, row: Record) -> None:
        is_refused = row["refresh_sealed"] is None
        try:
            if not is_refused:
                form = {"grant_type": "refresh_token", "refresh_token": self.opened(row, "refresh_sealed")}
                tokens = await grant(self.ask, client_of(row, self.keyring), form)
                place = context(row["organization_id"], row["id"])
                sealed = None if tokens.refresh is None else self.keyring.seal(tokens.refresh.encode(), place)
                access = self.keyring.seal(tokens.access.encode(), place)
                await self.pool.execute(SQL.refreshed, row["id"], access, sealed, tokens.lifetime)
                return
        except FetchRefused as error:
            # RFC 6749 section 5.2: what the provider has taken back comes as 400, or 401.
            is_refused = error.status in (400, 401)
            if not is_refused:
                await self.pool.execute(SQL.not_refreshed, row["id"], False)  # noqa: FBT003 - SQL
                raise UpstreamAuthFailed("the provider gave no new token; nothing was charged") from error
        except (FetchFailed, CannotOpen) as error:
            await self.pool.execute(SQL.not_refreshed, row["id"], False)  # noqa: FBT003 - SQL
            raise UpstreamAuthFailed("the provider gave no new token; nothing was charged") from error
        await self.pool.execute(SQL.not_refreshed, row["id"], is_refused)

    def opened(self, row: Record, name: str) -> str:
        try:
            return opened(self.keyring, row["organization_id"], row["id"], row[name])
        except CannotOpen as error:
            raise UpstreamAuthFailed("your token cannot be read any more: connect again") from error


def opened(keyring: Keyring, organization_id: UUID, connection_id: UUID, sealed: bytes) -> str:
    return keyring.open(sealed, context(organization_id, connection_id)).decode()


def client_of(row: Mapping[str, Any] | Record, keyring: Keyring) -> Client:
    secret = keyring.open(row["secret_sealed"], context(row["provider_owner_id"], row["provider_id"]))
    return Client(row["token_url"], row["client_id"], secret.decode(), row["method"])


def authorized(client: Client, form: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and form with the client's own credentials: RFC 6749 section 2.3.1."""
    if client.method == "client_secret_basic":
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, dict(form)
    return {}, {**form, "client_id": client.client_id, "client_secret": client.secret}


async def grant(ask: Ask, client: Client, form: Mapping[str, str]) -> Tokens:
    """``FetchFailed`` when there are no tokens to be had that can be used."""
    headers, whole = authorized(client, form)
    try:
        said = msgspec.json.decode(await ask("POST", client.token_url, headers, {}, whole))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FetchFailed("the answer was not JSON") from error
    access = said.get("access_token") if isinstance(said, dict) else None
    if not isinstance(access, str) or not is_sendable(access):
        raise FetchFailed("the answer had no usable token")
    refresh, seconds, scope = said.get("refresh_token"), said.get("expires_in"), said.get("scope")
    is_count = isinstance(seconds, int) and not isinstance(seconds, bool) and seconds > 0
    return Tokens(
        access,
        refresh if isinstance(refresh, str) and is_sendable(refresh) else None,
        timedelta(seconds=min(seconds, LIFETIME_SECONDS_MAX)) if is_count else None,
        scope.split()[:100] if isinstance(scope, str) and "\0" not in scope else None,
    )


async def save(
    db: Db,
    keyring: Keyring,
    who: tuple[UUID, UUID, UUID],
    tokens: Tokens,
    scopes: Sequence[str],
    profile: tuple[str | None, str | None],
) -> UUID:
    """In place of the connection that there was. ``who`` is the provider, the organization and the user."""
    provider_id, organization_id, user_id = who
    await db.execute(SQL.delete_at, organization_id, user_id, provider_id)
    connection_id = ids.new()
    place = context(organization_id, connection_id)
    refresh = None if tokens.refresh is None else keyring.seal(tokens.refresh.encode(), place)
    await db.execute(
        SQL.save, connection_id, *who, keyring.seal(tokens.access.encode(), place), refresh, tokens.lifetime,
        list(scopes), *profile,
    )  # fmt: skip
    return connection_id


async def delete_at(db: Db, organization_id: UUID, user_id: UUID, provider_id: UUID) -> Record | None:
    """What is to be revoked at the provider; None when there is no such connection."""
    return await db.fetchrow(SQL.delete_at, organization_id, user_id, provider_id)


async def delete_named(
    db: Db, organization_id: UUID, user_id: UUID, connection_id: UUID | None, slug: str
) -> Record | None:
    """The same, by the connection's id or by the provider's slug."""
    return await db.fetchrow(SQL.delete_named, organization_id, user_id, connection_id, slug, PLATFORM)


async def forget(db: Db, provider_id: UUID) -> None:
    """Every connection to a provider, because it is another one from now on."""
    await db.execute(SQL.forget, provider_id)


async def reseal(pool: Pool, keyring: Keyring) -> int:
    """Encrypt again what an older key sealed, each row in its own transaction. Returns how many."""
    count = 0
    for found in await pool.fetch(SQL.sealed_ids):
        async with pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(SQL.lock, found["id"])
            sealed = () if row is None else (row["access_sealed"], row["refresh_sealed"])
            if row is None or all(one is None or keyring.is_current(one) for one in sealed):
                continue
            place = context(row["organization_id"], found["id"])
            anew = [one and keyring.seal(keyring.open(one, place), place) for one in sealed]
            await connection.execute(SQL.replace, found["id"], *anew)
            count += 1
    return count
