from collections.abc import Mapping
from typing import Any
from uuid import UUID

from asyncpg import Record
from yarl import URL

from control.api.answers import Created
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data
from control.providers import store
from control.providers.models import NewProvider, Provider, ProviderChange
from gateway import connections
from gateway.kit import crypto, ids
from gateway.kit.problem import FieldProblem, Invalid, NotFound, Refusal, invalid
from gateway.kit.ssrf import Blocked

room = Room("providers", "/organizations/{organization_id}/oauth/providers")

PROVIDERS_MAX = 100
GUARDED = ("authorization_url", "token_url", "revocation_url", "userinfo_url")
# Where the secret goes, and what users have been given.
SECRET_TOLD = ("token_url", "revocation_url")
# What a provider can be without; anything else that is null was not sent.
CLEARED = frozenset({"description", "logo_url", "revocation_url", "userinfo_url", "issuer"})


class SlugTaken(Refusal):
    status, slug, title = 409, "oauth-provider-slug-taken", "OAuth provider slug already exists"


class ProviderInUse(Refusal):
    status, slug, title = 409, "oauth-provider-in-use", "The OAuth provider is in use"


class TooManyProviders(Refusal):
    status, slug, title = 409, "too-many-oauth-providers", "Too many OAuth providers"


@room.get(access="oauth.read", id="list_org_oauth_providers")
async def index(call: Call, organization_id: OrganizationId) -> Data[list[Provider]]:
    """List an organization's OAuth providers, oldest first. Client secrets are not shown."""
    return Data(data=await store.index(call.db, organization_id))


@room.post(
    access="oauth_providers.write",
    fails=[SlugTaken, TooManyProviders],
    is_transaction=False,
    id="create_org_oauth_provider",
)
async def create(
    call: Call, organization_id: OrganizationId, *, body: NewProvider
) -> Created[Data[Provider]]:
    """Register with an OAuth provider, so that callers of your publishers can connect their accounts there.

    Register `/oauth/providers/{provider_id}/callback`, or `/oauth/{slug}/callback`, on this server's address
    as the redirect URI at the provider. A provider of the platform's own organization is for everybody.
    """
    await refuse_blocked(call, body.model_dump(include=set(GUARDED)))
    provider_id = ids.new()
    values = {
        **body.model_dump(exclude={"client_secret"}),
        "custom_auth_params": body.custom_auth_params or {},
        "secret_sealed": sealed(call, organization_id, provider_id, body.client_secret.get_secret_value()),
    }
    async with call.transaction() as db:
        if await store.count(db, organization_id) >= PROVIDERS_MAX:
            raise TooManyProviders(f"an organization has up to {PROVIDERS_MAX} of them")
        if not await store.insert(db, provider_id, organization_id, values):
            raise SlugTaken(f"there is a provider {body.slug} already")
        call.about(provider_id)
    return Created(Data(data=await found(call, organization_id, provider_id)))


@room.get("/{provider_id}", access="oauth.read", fails=[NotFound], id="get_org_oauth_provider")
async def show(call: Call, organization_id: OrganizationId, provider_id: UUID) -> Data[Provider]:
    """Show an OAuth provider of an organization."""
    return Data(data=await found(call, organization_id, provider_id))


@room.patch(
    "/{provider_id}",
    access="oauth_providers.write",
    fails=[NotFound, SlugTaken],
    is_transaction=False,
    id="update_org_oauth_provider",
)
async def update(
    call: Call, organization_id: OrganizationId, provider_id: UUID, *, body: ProviderChange
) -> Data[Provider]:
    """Change an OAuth provider.

    What is not sent stays as it is. Null clears the description, the logo, the revocation URL, the URL of the
    profile and the issuer, and is ignored elsewhere. Where tokens are asked for, or revoked, on another
    server, the client secret is needed again, and users connect again: both were meant for the one before.
    """
    if body.organization_id not in (None, organization_id):
        raise invalid("body/organization_id", "a provider does not move to another organization")
    said = {
        name: getattr(body, name)
        for name in body.model_fields_set - {"organization_id", "client_secret"}
        if getattr(body, name) is not None or name in CLEARED
    }
    await refuse_blocked(call, said)
    async with call.transaction() as db:
        row = await store.lock(db, organization_id, provider_id)
        if row is None:
            raise NotFound(f"no OAuth provider {provider_id}")
        values = {**dict(row), **said}
        if is_moved(row, values):
            if body.client_secret is None:
                raise invalid("body/client_secret", "is needed again where tokens go to another server")
            await connections.forget(db, provider_id)
        if body.client_secret is not None:
            secret = body.client_secret.get_secret_value()
            values["secret_sealed"] = sealed(call, organization_id, provider_id, secret)
        if not await store.update(db, provider_id, values):
            raise SlugTaken(f"there is a provider {values['slug']} already")
    return Data(data=await found(call, organization_id, provider_id))


@room.delete(
    "/{provider_id}",
    access="oauth_providers.write",
    fails=[NotFound, ProviderInUse],
    id="delete_org_oauth_provider",
)
async def delete(call: Call, organization_id: OrganizationId, provider_id: UUID) -> None:
    """Delete an OAuth provider, with every connection to it.

    Refused while a publisher wants it of its callers. Tokens are forgotten here, and not revoked there.
    """
    await found(call, organization_id, provider_id)
    if await store.is_used(call.db, provider_id):
        raise ProviderInUse("a publisher with requires_user_oauth needs it")
    await store.delete(call.db, organization_id, provider_id)


async def found(call: Call, organization_id: UUID, provider_id: UUID) -> Provider:
    row = await store.get(call.db, organization_id, provider_id)
    if row is None:
        raise NotFound(f"no OAuth provider {provider_id}")
    return store.shown(row)


def is_moved(before: Record, after: Mapping[str, Any]) -> bool:
    """Whether the secret, or tokens of users, would go to a server that they were not for."""
    known = {origin_of(before[name]) for name in SECRET_TOLD}
    return any(after[name] is not None and origin_of(after[name]) not in known for name in SECRET_TOLD)


def origin_of(url: str | None) -> URL | None:
    return None if url is None else URL(url).origin()


def sealed(call: Call, organization_id: UUID, provider_id: UUID, secret: str) -> bytes:
    return call.ports.keyring.seal(secret.encode(), crypto.context(organization_id, provider_id))


async def refuse_blocked(call: Call, said: dict[str, Any]) -> None:
    problems = []
    for name in GUARDED:
        url = said.get(name)
        try:
            if url is not None:
                await call.ports.guard.check(url)
        except Blocked as error:
            problems.append(FieldProblem(pointer=f"body/{name}", detail=str(error)))
    if problems:
        raise Invalid(problems)
