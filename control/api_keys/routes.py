from datetime import UTC, datetime, timedelta
from uuid import UUID

from control.api.fields import OrganizationId
from control.api.operation import Call, Created, Done, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.api_keys import rules, store
from control.api_keys.models import (
    ApiKey,
    IssuedApiKey,
    NewApiKey,
    SpendCaps,
    SpendCapsChange,
    from_row,
    shown,
)
from control.identity import keys
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.ledger import caps, events
from gateway.ledger.caps import NO_CAPS

room = Room("api_keys", "/organizations/{organization_id}/api-keys")
DEFAULT = "/organizations/default/api-keys"


class PermissionNotHeld(Refusal):
    status, slug, title = 403, "permission-not-held", "Permission not held"


@room.get(access="api_keys.read", id="list_org_api_keys")
async def index(
    call: Call, organization_id: OrganizationId, *, limit: Limit = 100, offset: Offset = 0
) -> Page[ApiKey]:
    """List API keys, oldest first, those that expired or were revoked included."""
    total = await store.count(call.db, organization_id)
    return page(await store.page(call.db, organization_id, limit, offset), total, limit, offset)


@room.post(access="api_keys.write", fails=[PermissionNotHeld], id="create_org_api_key")
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
    role, is_agent = member
    if body.agent_identity_id and not is_agent:
        raise invalid("body/agent_identity_id", "is not an agent")
    if body.key_type == "agent" and not is_agent:
        raise invalid("body/agent_identity_id", "is required for a key of type agent")
    if excess := rules.excess(call.actor, organization_id, role, body.scopes):
        raise PermissionNotHeld(f"this key cannot grant {', '.join(excess)}")
    return user_id, body.key_type or ("agent" if is_agent else "user")


@room.delete("/{key_id}", access="api_keys.write", fails=[NotFound], id="revoke_org_api_key")
async def revoke(call: Call, organization_id: OrganizationId, key_id: UUID) -> Done:
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
    call: Call, organization_id: OrganizationId, key_id: UUID, *, body: SpendCapsChange
) -> Data[SpendCaps]:
    """Change how much an API key may spend.

    What is not sent stays as it is; empty text takes a cap away. What was spent stays counted. Caps on a key
    that never had any hold within a second, any other change at once. A key with caps can only lower caps,
    its own included.
    """
    if not await store.is_key(call.db, organization_id, key_id):
        raise NotFound(f"no API key {key_id}")
    before = await caps.lock(call.db, key_id)
    limits = rules.merged(before, body, "body")
    own = (await caps.find(call.db, [call.actor.key_id])).get(call.actor.key_id)
    if own is not None and own.caps.is_set and not before.allows(limits):
        raise PermissionNotHeld("a key with spend caps cannot raise caps or take them away")
    await caps.put(call.db, key_id, limits)
    changed = shown((await caps.find(call.db, [key_id]))[key_id])
    assert changed is not None, "it was put by the statement above"
    return Data(data=changed)


@room.get(at=DEFAULT, access="api_keys.read", id="list_default_org_api_keys")
async def index_default(call: Call, *, limit: Limit = 100, offset: Offset = 0) -> Page[ApiKey]:
    """List the API keys of your key's organization."""
    return await index(call, call.actor.organization_id, limit=limit, offset=offset)


@room.post(at=DEFAULT, access="api_keys.write", fails=[PermissionNotHeld], id="create_default_org_api_key")
async def create_default(call: Call, *, body: NewApiKey) -> Created[Data[IssuedApiKey]]:
    """Create an API key in your key's organization.

    The key itself is in this answer and nowhere else. It may do no more than the key that made it.
    """
    return await create(call, call.actor.organization_id, body=body)


@room.delete(
    at=f"{DEFAULT}/{{key_id}}", access="api_keys.write", fails=[NotFound], id="revoke_default_org_api_key"
)
async def revoke_default(call: Call, key_id: UUID) -> Done:
    """Revoke an API key of your key's organization. Its next request is refused."""
    return await revoke(call, call.actor.organization_id, key_id)


@room.patch(
    at=f"{DEFAULT}/{{key_id}}/spend-caps",
    access="api_keys.write",
    fails=[NotFound, PermissionNotHeld],
    id="update_default_org_api_key_spend_caps",
)
async def change_caps_default(call: Call, key_id: UUID, *, body: SpendCapsChange) -> Data[SpendCaps]:
    """Change how much an API key of your key's organization may spend.

    What is not sent stays as it is; empty text takes a cap away. A key with caps can only lower caps.
    """
    return await change_caps(call, call.actor.organization_id, key_id, body=body)
