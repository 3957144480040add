from dataclasses import dataclass
from uuid import UUID

from control.api import credentials
from control.api.answers import Created, Done, Found
from control.api.operation import Call, Room
from control.api.paging import Data
from control.oauth import exchange, rules, store
from control.oauth.exchange import ConnectingFailed
from control.oauth.models import (
    Bearer,
    Code,
    Confirmation,
    Connection,
    ConnectionId,
    ConnectionList,
    Cookie,
    ErrorCode,
    Issuer,
    Providers,
    RedirectUri,
    Revoked,
    Secret,
    Slug,
)  # fmt: skip
from control.oauth.store import State
from gateway import connections
from gateway.kit import crypto, ids
from gateway.kit.problem import NotFound, Refusal, Unauthorized, invalid

room = Room("oauth", "/oauth")


class StateInvalid(Refusal):
    status, slug, title = 400, "oauth-state-invalid", "The authorization was not asked for, or is over"


class IssuerMismatch(Refusal):
    status, slug, title = 400, "oauth-issuer-mismatch", "Another authorization server answered"


@room.get("/providers", access="oauth.read", id="list_providers")
async def index_providers(call: Call) -> Providers:
    """List the OAuth providers you can connect to: your organization's own, and the platform's."""
    return Providers(providers=await store.providers(call.db, call.actor.organization_id))


@room.get(
    "/providers/{provider_id}/authorize",
    access="oauth.write",
    fails=[NotFound],
    is_change=True,
    id="initiate_oauth_by_id",
)
async def authorize_by_id(call: Call, provider_id: UUID, *, redirect_uri: RedirectUri | None = None) -> Found:
    """Start connecting an account of yours, by the provider's id.

    Open the URL in `Location` in a browser within ten minutes. Providers of publishers that act in their
    callers' names can be connected to by everybody.
    """
    row = await store.provider(call.db, call.actor.organization_id, provider_id=provider_id)
    if row is None:
        raise NotFound(f"no OAuth provider {provider_id}")
    return await begin(call, row, f"/oauth/providers/{provider_id}/callback", redirect_uri)


@room.get(
    "/{provider}/authorize", access="oauth.write", fails=[NotFound], is_change=True, id="initiate_oauth"
)
async def authorize(call: Call, provider: Slug, *, redirect_uri: RedirectUri | None = None) -> Found:
    """Start connecting an account of yours, by the provider's slug.

    Open the URL in `Location` in a browser within ten minutes.
    """
    row = await store.provider(call.db, call.actor.organization_id, slug=provider)
    if row is None:
        raise NotFound(f"no OAuth provider {provider}")
    return await begin(call, row, f"/oauth/{provider}/callback", redirect_uri)


async def begin(call: Call, provider: exchange.Row, callback: str, asked: str | None) -> Found:
    origin = call.ports.origin
    redirect_uri = asked or f"{origin}/docs"
    if not rules.may_return_to(redirect_uri, origin, call.ports.settings.oauth.redirect_origins):
        raise invalid(
            "query/redirect_uri", f"is not on {origin}, on an origin that is allowed, or on loopback"
        )
    state_id, secret, verifier = ids.new(), rules.new_secret(), rules.new_secret()
    actor = call.actor
    place = crypto.context(actor.organization_id, state_id)
    sealed = call.ports.keyring.seal(verifier.encode(), place)
    state = State(
        state_id, secret, provider["id"], actor.organization_id, actor.user_id, callback, redirect_uri, sealed
    )
    await store.begin(call.db, state)
    sent = {
        "redirect_uri": origin + callback,
        "state": secret,
        "code_challenge": rules.challenge(verifier),
        "code_challenge_method": "S256",
    }
    return Found(
        rules.authorization_url(
            provider["authorization_url"], provider["custom_auth_params"], provider["client_id"],
            provider["scopes"], sent,
        )
    )  # fmt: skip


@room.get(
    "/providers/{provider_id}/callback",
    access=None,
    fails=[StateInvalid, IssuerMismatch, Unauthorized],
    is_transaction=False,
    is_change=True,
    id="oauth_callback_by_id",
)
async def callback_by_id(
    call: Call,
    provider_id: UUID,
    *,
    state: Secret,
    code: Code = None,
    error: ErrorCode = None,
    iss: Issuer = None,
    authorization: Bearer = None,
    cookie: Cookie = None,
) -> Found:
    """Come back from a provider, by its id. See the other callback."""
    back = Back(f"/oauth/providers/{provider_id}/callback", state, code, error, iss)
    return await come_back(call, back, authorization, cookie)


@room.get(
    "/{provider}/callback",
    access=None,
    fails=[StateInvalid, IssuerMismatch, Unauthorized],
    is_transaction=False,
    is_change=True,
    id="oauth_callback",
)
async def callback(
    call: Call,
    provider: Slug,
    *,
    state: Secret,
    code: Code = None,
    error: ErrorCode = None,
    iss: Issuer = None,
    authorization: Bearer = None,
    cookie: Cookie = None,
) -> Found:
    """Come back from a provider.

    The browser goes on to the `redirect_uri`, with `status` and more in its query: `success` with
    `connection_id` when this request carried a credential of the user who started it, `confirm` with
    `confirmation` when it carried none (send it to `POST /oauth/connections`), `error` with `error`.
    """
    back = Back(f"/oauth/{provider}/callback", state, code, error, iss)
    return await come_back(call, back, authorization, cookie)


@dataclass(frozen=True, slots=True)
class Back:
    """What a browser brings from a provider, and to which callback."""

    path: str
    state: str
    code: str | None
    error: str | None
    issuer: str | None


async def come_back(call: Call, brought: Back, authorization: str | None, cookie: str | None) -> Found:
    state = await store.find_state(call.db, brought.state, brought.path)
    if state is None:
        raise StateInvalid("start again: this state is unknown, used, of another provider, or too old")
    back = state["redirect_uri"]
    user_id = await who_comes(call, authorization, cookie)
    if user_id not in (None, state["user_id"]):
        raise StateInvalid("somebody else started this")
    call.by(state["user_id"])
    call.about(state["provider_id"], organization_id=state["organization_id"])
    if state["issuer"] is not None and brought.issuer != state["issuer"]:
        # A code of one server, brought to the callback of another, is not sent to either.
        await store.take(call.db, state["id"])
        raise IssuerMismatch("the authorization server is not who this was started with: start again")
    if brought.code is None or brought.error is not None:
        await store.take(call.db, state["id"])
        return Found(rules.with_query(back, {"status": "error", "error": brought.error or "no_code"}))
    code = brought.code
    return await park(call, state, code) if user_id is None else await finish(call, state, code)


async def finish(call: Call, state: exchange.Row, code: str) -> Found:
    back = state["redirect_uri"]
    if not await store.take(call.db, state["id"]):
        raise StateInvalid("this state was used in this moment")
    try:
        made = await exchange.connect(call, state, code)
    except ConnectingFailed as failed:
        if call.entry is not None:
            await call.entry.write(call.db, "failure", str(failed))
        return Found(rules.with_query(back, {"status": "error", "error": "exchange_failed"}))
    return Found(rules.with_query(back, {"status": "success", "connection_id": str(made)}))


async def who_comes(call: Call, authorization: str | None, cookie: str | None) -> UUID | None:
    """The user whose credential this is; None for a browser without one, or with one that is over."""
    sent = {"Authorization": authorization, "Cookie": cookie}
    headers = {name: value for name, value in sent.items() if value is not None}
    try:
        return (await credentials.present(call.db, call.ports.asking("GET", headers))).user_id
    except Unauthorized:
        if authorization is not None:
            raise
        return None


async def park(call: Call, state: exchange.Row, code: str) -> Found:
    """Whoever brings the code may have been talked into it, so the one who started has to want it."""
    confirmation = rules.new_secret()
    place = crypto.context(state["organization_id"], state["id"])
    sealed = call.ports.keyring.seal(code.encode(), place)
    if not await store.park(call.db, state["id"], sealed, confirmation):
        raise StateInvalid("this state was used in this moment")
    added = {"status": "confirm", "confirmation": confirmation}
    return Found(rules.with_query(state["redirect_uri"], added))


@room.get("/connections", access="oauth.read", id="list_connections")
async def index(call: Call) -> ConnectionList:
    """List the accounts that you have connected. Tokens are never shown."""
    found = await store.connections(call.db, call.actor.organization_id, call.actor.user_id)
    return ConnectionList(connections=found)


@room.post(
    "/connections",
    access="oauth.write",
    fails=[StateInvalid, ConnectingFailed],
    is_transaction=False,
    id="confirm_connection",
)
async def confirm(call: Call, *, body: Confirmation) -> Created[Data[Connection]]:
    """Confirm a connection that a browser came back with, with the credential that started it.

    Without this step a stranger could send you to a provider and have your account connected to theirs.
    """
    actor = call.actor
    async with call.transaction() as db:
        state = await store.confirm(db, body.confirmation, actor.organization_id, actor.user_id)
    if state is None:
        raise StateInvalid("this confirmation is unknown, used, somebody else's, or too old")
    place = crypto.context(state["organization_id"], state["id"])
    code = call.ports.keyring.open(state["code_sealed"], place).decode()
    made = await exchange.connect(call, state, code)
    found = await store.connections(call.db, actor.organization_id, actor.user_id)
    return Created(Data(data=next(one for one in found if one.id == made)))


@room.delete(
    "/connections/providers/{provider_id}",
    access="oauth.write",
    fails=[NotFound],
    is_transaction=False,
    id="revoke_connection_by_id",
)
async def revoke_by_provider(call: Call, provider_id: UUID) -> Done:
    """Disconnect your account at a provider, by the provider's id, and have its tokens revoked there."""
    actor = call.actor
    gone = await connections.delete(call.db, actor.organization_id, actor.user_id, provider_id=provider_id)
    if gone is None:
        raise NotFound(f"no connection to {provider_id}")
    await exchange.revoke(call, gone)
    return Done()


@room.delete(
    "/connections/{provider}",
    access="oauth.write",
    fails=[NotFound],
    is_transaction=False,
    id="revoke_connection",
)
async def revoke(call: Call, provider: ConnectionId) -> Revoked:
    """Disconnect an account, by the connection's id, and have its tokens revoked at the provider."""
    actor = call.actor
    gone = await connections.delete(call.db, actor.organization_id, actor.user_id, connection_id=provider)
    if gone is None:
        raise NotFound(f"no connection {provider}")
    is_told = await exchange.revoke(call, gone)
    message = "revoked at the provider" if is_told else "forgotten here; the provider was not told"
    return Revoked(success=True, message=message)
