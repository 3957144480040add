from datetime import UTC, datetime, timedelta
from uuid import UUID

from control.api import access, permissions
from control.api.access import PermissionNotHeld
from control.api.answers import Created, Done
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.api.permissions import FROM_V1
from control.api.wire_ids import KeyId, ProjectId, RootKeyId
from control.api_keys import rules, store
from control.api_keys.models import (
    ApiKey,
    IssuedApiKey,
    NewApiKey,
    ScopesChange,
    SpendCaps,
    SpendCapsChange,
    V1Issued,
    V1KeyRename,
    V1Keys,
    V1NewKey,
    V1Renamed,
    V1Revoked,
    from_row,
    shown,
)
from control.identity import keys
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.problem import NotFound, invalid
from gateway.ledger import caps, events
from gateway.ledger.caps import NO_CAPS

room = Room("api_keys", "/organizations/{organization_id}/api-keys")
DEFAULT = "/organizations/default/api-keys"
V1 = "/v1/projects/{project_id}/api-keys"


@room.get(access="api_keys.read", id="list_org_api_keys")
async def index(
    call: Call, organization_id: OrganizationId, *, limit: Limit = 100, offset: Offset = 0
) -> Page[ApiKey]:
    """List API keys, oldest first, those that expired or were revoked included."""
    total = await store.count(call.db, organization_id)
    return page(await store.page(call.db, organization_id, limit, offset), total, limit, offset)


@room.post(access="api_keys.write", fails=[PermissionNotHeld, QuotaExceeded], id="create_org_api_key")
async def create(
    call: Call, organization_id: OrganizationId, *, body: NewApiKey
) -> Created[Data[IssuedApiKey]]:
    """Create an API key.

    The key itself is in this answer and nowhere else. It may do no more than the key that made it, and a key
    for test money makes no keys for live money. A key with spend caps makes no keys that spend.
    """
    user_id, kind = await holder(call, organization_id, body)
    mode = body.mode or ("test" if call.actor.mode == "test" else call.ports.mode)
    if rules.spends_more(call.actor, mode):
        raise PermissionNotHeld("a key for test money cannot make one for live money")
    own = (await caps.find(call.db, [call.actor.key_id])).get(call.actor.key_id)
    if own is not None and rules.escapes(own.caps, body.scopes):
        raise PermissionNotHeld("a key with spend caps cannot make one that spends: leave wallet.spend out")
    limits = rules.merged(NO_CAPS, body.spend_caps, "body/spend_caps") if body.spend_caps else NO_CAPS
    days = body.expires_in_days
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    scopes: list[str] | None = sorted(set(body.scopes)) if body.scopes else None
    new = keys.NewKey(organization_id, user_id, body.name, kind, mode, scopes, expires_at)
    await headroom.require(call.db, call.ports.settings.plans, new.organization_id, "api_keys")
    row, key = await keys.issue(call.db, new)
    if limits.is_set:
        await caps.put(call.db, row["id"], limits)
    made = from_row(row, await caps.find(call.db, [row["id"]]))
    told = {"key_id": made.key_id, "name": made.name, "key_prefix": made.key_prefix, "mode": made.mode}
    await events.emit(call.db, organization_id, "key.created", told)
    return Created(Data(data=IssuedApiKey(api_key=key, **made.model_dump())))


async def holder(call: Call, organization_id: UUID, body: NewApiKey) -> tuple[UUID, keys.Kind]:
    """Who the key will act as; refused when that would be more than the maker is."""
    user_id = body.agent_identity_id or call.actor.user_id
    member = await store.find_member(call.db, organization_id, user_id)
    if member is None:
        raise invalid("body/agent_identity_id", "is not a member of this organization")
    granted, is_agent = member
    if body.agent_identity_id and not is_agent:
        raise invalid("body/agent_identity_id", "is not an agent")
    if body.key_type == "agent" and not is_agent:
        raise invalid("body/agent_identity_id", "is required for a key of type agent")
    if excess := rules.excess(call.actor, granted, body.scopes):
        raise PermissionNotHeld(f"this key cannot grant {', '.join(excess)}")
    return user_id, body.key_type or ("agent" if is_agent else "user")


@room.delete("/{key_id}", access="api_keys.write", fails=[NotFound], id="revoke_org_api_key")
async def revoke(call: Call, organization_id: OrganizationId, key_id: RootKeyId) -> Done:
    """Revoke an API key. Its next request is refused."""
    if not await keys.revoke(call.db, organization_id, key_id):
        raise NotFound(f"no API key {key_id}")
    await events.emit(call.db, organization_id, "key.revoked", {"key_id": str(key_id)})
    return Done()


@room.patch(
    "/{key_id}/spend-caps",
    access="api_keys.write",
    fails=[NotFound, PermissionNotHeld],
    id="update_org_api_key_spend_caps",
)
async def change_caps(
    call: Call, organization_id: OrganizationId, key_id: RootKeyId, *, body: SpendCapsChange
) -> Data[SpendCaps]:
    """Change how much an API key may spend.

    What is not sent stays as it is; empty text takes a cap away. What was spent stays counted. Caps on a key
    that never had any hold within a second, any other change at once. Whoever raises them may spend: a key
    with caps can only lower caps, its own included, and a key for test money those of keys like it.
    """
    mode = await store.mode_of(call.db, organization_id, key_id)
    if mode is None:
        raise NotFound(f"no API key {key_id}")
    before = await caps.lock(call.db, key_id)
    limits = rules.merged(before, body, "body")
    if not before.allows(limits):
        access.may_grant(call.actor, ["wallet.spend"])
    if rules.spends_more(call.actor, mode):
        raise PermissionNotHeld("a key for test money cannot change one for live money")
    await caps.put(call.db, key_id, limits)
    await events.emit(call.db, organization_id, "key.updated", {"key_id": str(key_id)})
    changed = shown((await caps.find(call.db, [key_id]))[key_id])
    assert changed is not None, "it was put by the statement above"
    return Data(data=changed)


@room.get(at=DEFAULT, access="api_keys.read", id="list_default_org_api_keys")
async def index_default(call: Call, *, limit: Limit = 100, offset: Offset = 0) -> Page[ApiKey]:
    """List the API keys of your key's organization."""
    return await index(call, call.actor.organization_id, limit=limit, offset=offset)


@room.post(
    at=DEFAULT,
    access="api_keys.write",
    fails=[PermissionNotHeld, QuotaExceeded],
    id="create_default_org_api_key",
)
async def create_default(call: Call, *, body: NewApiKey) -> Created[Data[IssuedApiKey]]:
    """Create an API key in your key's organization.

    The key itself is in this answer and nowhere else. It may do no more than the key that made it.
    """
    return await create(call, call.actor.organization_id, body=body)


@room.delete(
    at=f"{DEFAULT}/{{key_id}}", access="api_keys.write", fails=[NotFound], id="revoke_default_org_api_key"
)
async def revoke_default(call: Call, key_id: RootKeyId) -> Done:
    """Revoke an API key of your key's organization. Its next request is refused."""
    return await revoke(call, call.actor.organization_id, key_id)


@room.patch(
    at=f"{DEFAULT}/{{key_id}}/spend-caps",
    access="api_keys.write",
    fails=[NotFound, PermissionNotHeld],
    id="update_default_org_api_key_spend_caps",
)
async def change_caps_default(call: Call, key_id: RootKeyId, *, body: SpendCapsChange) -> Data[SpendCaps]:
    """Change how much an API key of your key's organization may spend.

    What is not sent stays as it is; empty text takes a cap away. A key with caps can only lower caps.
    """
    return await change_caps(call, call.actor.organization_id, key_id, body=body)


@room.patch(
    "/{key_id}/scopes",
    access="api_keys.write",
    fails=[NotFound, PermissionNotHeld],
    id="update_org_api_key_scopes",
)
async def change_scopes(
    call: Call, organization_id: OrganizationId, key_id: RootKeyId, *, body: ScopesChange
) -> Data[ApiKey]:
    """Replace the scopes of one of your own API keys.

    They can be no more than you may do yourself, a key cannot change its own, and one with spend caps cannot
    let another spend. It holds within a second.
    """
    if key_id == call.actor.key_id:
        raise PermissionNotHeld("a key cannot change its own scopes")
    access.may_grant(call.actor, body.scopes)
    own = (await caps.find(call.db, [call.actor.key_id])).get(call.actor.key_id)
    if own is not None and rules.escapes(own.caps, body.scopes):
        raise PermissionNotHeld("a key with spend caps cannot let another one spend")
    wanted = sorted(set(body.scopes))
    if not await keys.rescope(call.db, organization_id, call.actor.user_id, key_id, wanted):
        raise NotFound(f"no API key {key_id} of yours")
    changed = await store.get(call.db, organization_id, key_id)
    if rules.spends_more(call.actor, changed.mode):
        raise PermissionNotHeld("a key for test money cannot change one for live money")
    await events.emit(call.db, organization_id, "key.updated", {"key_id": str(key_id)})
    return Data(data=changed)


@room.get(at=V1, access="api_keys.read", id="v1_list_project_api_keys")
async def index_v1(call: Call, project_id: ProjectId) -> V1Keys:
    """List a project's keys, the newest 500 first, those that were revoked included."""
    return V1Keys(keys=await store.of_project(call.db, project_id))


@room.post(
    at=V1, access="api_keys.write", fails=[PermissionNotHeld, QuotaExceeded], id="v1_create_project_api_key"
)
async def create_v1(call: Call, project_id: ProjectId, *, body: V1NewKey) -> Created[V1Issued]:
    """Create a key for a project.

    It acts in this project only, as far as its role and your own go, and spends nothing. The key itself is in
    this answer and nowhere else.
    """
    role = FROM_V1[body.role or body.scope or "admin"]
    access.may_grant(call.actor, permissions.of_project(role))
    days = body.expires_in_days
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    new = keys.NewKey(
        call.actor.organization_id,
        call.actor.user_id,
        body.name,
        "user",
        call.actor.mode,
        None,
        expires_at,
        project_id,
        role,
    )
    await headroom.require(call.db, call.ports.settings.plans, new.organization_id, "api_keys")
    row, key = await keys.issue(call.db, new)
    told = {name: str(row[name]) for name in ("name", "mode")}
    told |= {"key_id": str(row["id"]), "key_prefix": str(row["prefix"])}
    await events.emit(call.db, call.actor.organization_id, "key.created", told, project_id)
    call.about(row["id"])
    (made,) = await store.of_project(call.db, project_id, row["id"])
    return Created(V1Issued(key=made, plaintext=key))


@room.patch(at=f"{V1}/{{key_id}}", access="api_keys.write", fails=[NotFound], id="v1_rename_project_api_key")
async def rename_v1(call: Call, project_id: ProjectId, key_id: KeyId, *, body: V1KeyRename) -> V1Renamed:
    """Rename a project's key."""
    if not await keys.rename_of_project(call.db, project_id, key_id, body.name):
        raise NotFound("no such key")
    told = {"key_id": str(key_id)}
    await events.emit(call.db, call.actor.organization_id, "key.updated", told, project_id)
    return V1Renamed(key_id=key_id, name=body.name)


@room.delete(at=f"{V1}/{{key_id}}", access="api_keys.write", fails=[NotFound], id="v1_revoke_project_api_key")
async def revoke_v1(call: Call, project_id: ProjectId, key_id: KeyId) -> V1Revoked:
    """Revoke a project's key. Its next request is refused; to revoke it again changes nothing."""
    if not await keys.revoke_in_project(call.db, call.actor.organization_id, project_id, key_id):
        raise NotFound("no such key")
    return V1Revoked(revoked=key_id)
