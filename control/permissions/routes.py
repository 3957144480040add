from uuid import UUID

from control.api import access
from control.api.access import PermissionNotHeld
from control.api.answers import Created
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.permissions import BUILT_IN, CATALOGUE, OPERATE, id_of
from control.identity import members
from control.permissions import store
from control.permissions.models import NewRole, PermissionInfo, Role, RoleChange
from control.permissions.store import NameTaken
from gateway.kit.problem import Invalid, NotFound, Refusal, invalid

room = Room("permissions", "/permissions")
ORGANIZATION = "/organizations/{organization_id}"
ROLES = f"{ORGANIZATION}/roles"


class RoleBuiltIn(Refusal):
    status, slug, title = 400, "role-built-in", "Built-in roles stay as they are"


class RoleInUse(Refusal):
    status, slug, title = 409, "role-in-use", "The role is in use"


@room.get(access="permissions.read", id="list_permissions")
async def index(call: Call) -> list[PermissionInfo]:
    """List every permission that there is."""
    since = await store.installed_at(call.db)
    return [
        PermissionInfo(
            id=id_of(name),
            name=name,
            resource_type=name.partition(".")[0],
            action=name.partition(".")[2],
            description=sentence,
            created_at=since,
        )
        for name, sentence in CATALOGUE.items()
    ]


@room.get(
    at=f"{ORGANIZATION}/permissions/check/{{permission}}", access="permissions.read", id="check_permission"
)
async def check(call: Call, organization_id: OrganizationId, permission: str) -> Data[bool]:
    """Tell whether you have a permission in an organization.

    Of an API key: whether the key has it. A name that no permission has is false.
    """
    return Data(data=permission in call.actor.permissions)


@room.get(at=f"{ORGANIZATION}/permissions/mine", access="permissions.read", id="get_my_permissions")
async def mine(call: Call, organization_id: OrganizationId) -> list[str]:
    """List your permissions in an organization. Of an API key: the key's."""
    return sorted(call.actor.permissions)


@room.get(at=ROLES, access="roles.read", id="list_organization_roles")
async def list_roles(call: Call, organization_id: OrganizationId) -> Data[list[Role]]:
    """List the roles that a member can have, the built-in ones first."""
    return Data(data=await store.every(call.db, organization_id))


@room.post(at=ROLES, access="roles.write", fails=[PermissionNotHeld], id="create_organization_role")
async def create(call: Call, organization_id: OrganizationId, *, body: NewRole) -> Created[Data[Role]]:
    """Create a custom role.

    It grants no more than you may do yourself. Names are told apart without regard to case.
    """
    refuse_name(body.name)
    refuse_operating(body.permissions)
    access.may_grant(call.actor, body.permissions)
    try:
        return Created(Data(data=await store.insert(call.db, organization_id, body)))
    except NameTaken:
        raise invalid("body/name", "is another role's") from None


@room.get(at=f"{ROLES}/{{role_id}}", access="roles.read", fails=[NotFound], id="get_role")
async def show(call: Call, organization_id: OrganizationId, role_id: UUID) -> Data[Role]:
    """Show a role."""
    return Data(data=await found(call, organization_id, role_id))


@room.patch(
    at=f"{ROLES}/{{role_id}}",
    access="roles.write",
    fails=[NotFound, PermissionNotHeld, RoleBuiltIn, Invalid],
    id="update_role",
)
async def update(
    call: Call, organization_id: OrganizationId, role_id: UUID, *, body: RoleChange
) -> Data[Role]:
    """Change a custom role. Its members have what it grants from then on."""
    # What is taken from a role in this moment must not come back with an older state of it.
    await members.lock(call.db, organization_id)
    before = await found(call, organization_id, role_id)
    if before.is_built_in:
        raise RoleBuiltIn(f"{before.name} is a built-in role")
    if body.name is not None:
        refuse_name(body.name)
    if body.permissions is not None:
        refuse_operating(body.permissions)
    # What the caller lacks may neither be given to the role's members nor be taken from them.
    access.may_grant(call.actor, set(before.permissions) ^ set(body.permissions or before.permissions))
    sent = {name: value for name, value in body.model_dump().items() if value is not None}
    if body.description == "":
        sent["description"] = None
    try:
        after = await store.update(call.db, organization_id, role_id, before.model_copy(update=sent))
    except NameTaken:
        raise invalid("body/name", "is another role's") from None
    if after is None:
        raise NotFound(f"no role {role_id}")
    return Data(data=after)


@room.delete(
    at=f"{ROLES}/{{role_id}}",
    access="roles.write",
    fails=[NotFound, RoleBuiltIn, RoleInUse],
    id="delete_organization_role",
)
async def delete(call: Call, organization_id: OrganizationId, role_id: UUID) -> None:
    """Delete a custom role that nobody has and nobody is invited to."""
    role = await found(call, organization_id, role_id)
    if role.is_built_in:
        raise RoleBuiltIn(f"{role.name} is a built-in role")
    if not await store.delete(call.db, organization_id, role_id):
        raise RoleInUse(f"somebody has the role {role.name}, or is invited to it")


async def found(call: Call, organization_id: UUID, role_id: UUID) -> Role:
    role = await store.get(call.db, organization_id, role_id)
    if role is None:
        raise NotFound(f"no role {role_id}")
    return role


def refuse_name(name: str) -> None:
    if name.lower() in BUILT_IN:
        raise invalid("body/name", "is a built-in role's")


def refuse_operating(permissions: list[str]) -> None:
    if OPERATE in permissions:
        raise invalid("body/permissions", f"{OPERATE} is in no custom role")
