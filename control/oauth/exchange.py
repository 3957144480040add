"""What is said to a provider: a code for tokens, who they belong to, and that they are to be revoked."""

from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from asyncpg import Record

from control.api.operation import Call
from control.oauth import store
from gateway import connections
from gateway.connections import Client
from gateway.kit import crypto, tasks
from gateway.kit.crypto import CannotOpen
from gateway.kit.fetch import Ask, FetchFailed, asking
from gateway.kit.problem import Refusal

Row: TypeAlias = Record | Mapping[str, Any]

PROFILE_TEXT_MAX = 320


class ConnectingFailed(Refusal):
    status, slug, title = 502, "oauth-exchange-failed", "The provider gave no tokens"


async def connect(call: Call, state: Row, code: str) -> UUID:
    """Exchange the code, and keep what comes of it: also when whoever asked has gone meanwhile."""
    return await tasks.finish(connected(call, state, code))


async def connected(call: Call, state: Row, code: str) -> UUID:
    provider = await store.provider_by_id(call.db, state["provider_id"])
    if provider is None or not provider["is_active"]:
        raise ConnectingFailed("the provider is not there any more")
    keyring = call.ports.keyring
    place = crypto.context(state["organization_id"], state["id"])
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": call.ports.origin + state["callback"],
        "code_verifier": keyring.open(state["verifier_sealed"], place).decode(),
    }
    async with asking(call.ports.guard) as ask:
        try:
            tokens = await connections.grant(ask, client_of(call, provider), form)
        except (FetchFailed, CannotOpen) as error:
            raise ConnectingFailed(f"the code could not be exchanged: {error}; start again") from None
        profile = await whose(ask, provider["userinfo_url"], tokens.access)
    who = (state["provider_id"], state["organization_id"], state["user_id"])
    scopes = provider["scopes"] if tokens.scopes is None else tokens.scopes
    async with call.transaction() as db:
        return await connections.save(db, keyring, who, tokens, scopes, profile)


def client_of(call: Call, provider: Row) -> Client:
    named = {
        **dict(provider),
        "provider_id": provider["id"],
        "provider_owner_id": provider["organization_id"],
        "method": provider["token_endpoint_auth_method"],
    }
    return connections.client_of(named, call.ports.keyring)


async def whose(ask: Ask, url: str | None, token: str) -> tuple[str | None, str | None]:
    """The account's id and address, for people to recognise it by: a connection works without them."""
    if url is None:
        return None, None
    try:
        said = msgspec.json.decode(await ask("GET", url, {"Authorization": f"Bearer {token}"}, {}, {}))
    except (FetchFailed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    if not isinstance(said, dict):
        return None, None
    return text(said.get("sub", said.get("id"))), text(said.get("email"))


def text(value: object) -> str | None:
    """GitHub, for one, has numbers for ids."""
    found = str(value) if isinstance(value, str | int) else ""
    return found[:PROFILE_TEXT_MAX] if found.isprintable() and found else None


async def revoke(call: Call, gone: Row) -> bool:
    """RFC 7009, for both tokens. The connection is gone already, whatever the provider says."""
    provider = await store.provider_by_id(call.db, gone["provider_id"])
    if provider is None or provider["revocation_url"] is None:
        return False
    place = (call.actor.organization_id, gone["id"])
    is_told = True
    async with asking(call.ports.guard) as ask:
        for hint in ("refresh", "access"):
            if (sealed := gone[f"{hint}_sealed"]) is None:
                continue
            try:
                token = connections.opened(call.ports.keyring, *place, sealed)
                form = {"token": token, "token_type_hint": f"{hint}_token"}
                headers, whole = connections.authorized(client_of(call, provider), form)
                await ask("POST", provider["revocation_url"], headers, {}, whole)
            except (FetchFailed, CannotOpen):
                is_told = False
    return is_told
