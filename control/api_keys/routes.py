from datetime import UTC, datetime, timedelta
from uuid import UUID

from control.api.fields import OrganizationId
from control.api.operation import Call, Created, Done, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.api_keys import rules, store
from control.api_keys.models import ApiKey, IssuedApiKey, NewApiKey, from_row
from control.identity import keys
from gateway.kit.problem import NotFound, Refusal, invalid

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
    for test money makes no keys for live money.
    """
    user_id, kind = await holder(call, organization_id, body)
    mode = body.mode or ("test" if call.actor.mode == "test" else call.ports.mode)
    if rules.spends_more(call.actor, mode):
        raise PermissionNotHeld("a key for test money cannot make one for live money")
    days = body.expires_in_days
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    scopes: list[str] | None = sorted(set(body.scopes)) if body.scopes else None
    new = keys.NewKey(organization_id, user_id, body.name, kind, mode, scopes, expires_at)
    row, key = await keys.issue(call.db, new)
    return Created(Data(data=IssuedApiKey(api_key=key, **from_row(row).model_dump())))


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
    return Done()


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
