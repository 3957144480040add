from uuid import UUID

import asyncpg

from control.api import access, grants, permissions
from control.api.access import PermissionNotHeld
from control.api.answers import Done
from control.api.fields import OrganizationId
from control.api.grants import Grant
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.permissions import FROM_V1
from control.api.wire_ids import OrgId, PersonId, ProjectId
from control.identity import invitations, keys, members
from control.identity.members import Change
from control.members import store
from control.members.models import (
    Member,
    RoleAssignment,
    V1Members,
    V1MemberShown,
    V1ProjectRoleChange,
    V1Removed,
    V1RoleChange,
    V1RoleChanged,
)
from gateway.kit.problem import Invalid, NotFound, Refusal, invalid
from gateway.ledger import events

room = Room("members", "/organizations/{organization_id}/members")
V1 = "/v1/orgs/{organization_id}/members"
V1_PROJECT = "/v1/projects/{project_id}/members"


class LastOwner(Refusal):
    status, slug, title = 409, "last-owner", "An organization keeps an owner"


class CannotChangeRole(Refusal):
    status, slug, title = 400, "cannot-change-role", "An organization keeps an owner"


class CannotRemoveMember(Refusal):
    status, slug, title = 400, "cannot-remove-member", "An organization keeps an owner"


@room.get(access="members.read", id="list_members")
async def index(call: Call, organization_id: OrganizationId) -> Data[list[Member]]:
    """List an organization's members and their roles, in the order in which they came."""
    return Data(data=await store.every(call.db, organization_id))


@room.put(
    "/{member_id}/role",
    access="members.write",
    fails=[NotFound, PermissionNotHeld, LastOwner],
    id="assign_role",
)
async def assign_role(
    call: Call, organization_id: OrganizationId, member_id: UUID, *, body: RoleAssignment
) -> Done:
    """Give a member another role.

    You can neither give a role that grants more than you have, nor change a member who has more than you. The
    last owner stays one.
    """
    if (body.role_id is None) == (body.role_name is None):
        raise invalid("body/role_id", "send either role_id or role_name")
    await members.lock(call.db, organization_id)
    if body.role_id is not None:
        grant = await grants.by_id(call.db, organization_id, body.role_id)
    else:
        grant = await grants.by_name(call.db, organization_id, body.role_name or "")
    if grant is None:
        raise NotFound(f"no role {body.role_id or body.role_name}")
    await change_role(call, organization_id, member_id, grant, LastOwner)
    return Done()


@room.delete("/me", access="account.write", fails=[NotFound, LastOwner], id="leave_organization")
async def leave(call: Call, organization_id: OrganizationId) -> None:
    """Leave an organization. The keys that you made in it are revoked; the last owner cannot leave."""
    await members.lock(call.db, organization_id)
    await remove_from(call, organization_id, call.actor.user_id, LastOwner)
    call.about(call.actor.user_id)


@room.delete(
    "/{member_id}",
    access="members.write",
    fails=[NotFound, PermissionNotHeld, LastOwner],
    id="remove_member",
)
async def remove(call: Call, organization_id: OrganizationId, member_id: UUID) -> None:
    """Remove a member, and revoke their invitations and the keys that act for them in this organization.

    Nobody removes a member who may do more than they may themselves.
    """
    await expel(call, organization_id, member_id, LastOwner)


@room.get(at=V1, access="members.read", id="v1_list_org_members")
async def index_v1(call: Call, organization_id: OrgId) -> V1Members:
    """List an organization's members. A custom role is shown as the greatest of the four that it covers."""
    return V1Members(members=await store.every_v1(call.db, organization_id))


@room.patch(
    at=f"{V1}/{{user_id}}",
    access="members.write",
    fails=[NotFound, PermissionNotHeld, CannotChangeRole, Invalid],
    id="v1_change_org_member_role",
)
async def change_v1(
    call: Call, organization_id: OrgId, user_id: PersonId, *, body: V1RoleChange
) -> V1RoleChanged:
    """Change a member's role. The last owner stays one."""
    await members.lock(call.db, organization_id)
    grant = await grants.by_name(call.db, organization_id, FROM_V1[body.role])
    assert grant is not None, "the four are built in"
    await change_role(call, organization_id, user_id, grant, CannotChangeRole)
    return V1RoleChanged(role=body.role)


@room.delete(
    at=f"{V1}/{{user_id}}",
    access="members.write",
    fails=[NotFound, PermissionNotHeld, CannotRemoveMember],
    id="v1_remove_org_member",
)
async def remove_v1(call: Call, organization_id: OrgId, user_id: PersonId) -> V1Removed:
    """Remove a member from an organization, with their invitations and the keys that act for them there."""
    await expel(call, organization_id, user_id, CannotRemoveMember)
    return V1Removed(removed=user_id)


@room.get(at=V1_PROJECT, access="members.read", id="v1_list_project_members")
async def project_index(call: Call, project_id: ProjectId) -> V1Members:
    """List who is in a project by an invitation of its own. Its organization's members are not listed."""
    return V1Members(members=await store.of_project(call.db, project_id))


@room.patch(
    at=f"{V1_PROJECT}/{{user_id}}",
    access="members.write",
    fails=[NotFound, PermissionNotHeld],
    id="v1_change_project_member_role",
)
async def project_change(
    call: Call, project_id: ProjectId, user_id: PersonId, *, body: V1ProjectRoleChange
) -> V1MemberShown:
    """Change what a project's member may do in it."""
    before = await store.in_project(call.db, project_id, user_id)
    if before is None:
        raise NotFound(f"no member {user_id.hex}")
    role = FROM_V1[body.role]
    wanted = permissions.of_project(role) | permissions.of_project(FROM_V1[before.role])
    access.may_grant(call.actor, wanted)
    if not await members.set_project_role(call.db, project_id, user_id, role):
        raise NotFound(f"no member {user_id.hex}")
    told = {"user_id": str(user_id), "role": role}
    await events.emit(call.db, call.actor.organization_id, "member.role_changed", told, project_id)
    return V1MemberShown(member=before.model_copy(update={"role": body.role}))


@room.delete(
    at=f"{V1_PROJECT}/{{user_id}}",
    access="members.write",
    fails=[NotFound, PermissionNotHeld],
    id="v1_remove_project_member",
)
async def project_remove(call: Call, project_id: ProjectId, user_id: PersonId) -> V1Removed:
    """Remove a member from a project, and revoke the keys that act for them in it."""
    before = await store.in_project(call.db, project_id, user_id)
    if before is None or not await members.remove_from_project(call.db, project_id, user_id):
        raise NotFound(f"no member {user_id.hex}")
    access.may_grant(call.actor, permissions.of_project(FROM_V1[before.role]))
    await keys.revoke_of_project_member(call.db, project_id, user_id)
    told = {"user_id": str(user_id)}
    await events.emit(call.db, call.actor.organization_id, "member.removed", told, project_id)
    return V1Removed(removed=user_id)


async def change_role(
    call: Call, organization_id: UUID, user_id: UUID, grant: Grant, last: type[Refusal]
) -> None:
    """The organization is locked, so what is read here stays so until this is done."""
    held = await grants.of_member(call.db, organization_id, user_id)
    if held is None:
        raise NotFound(f"no member {user_id}")
    access.may_grant(call.actor, held | grant.permissions)
    try:
        change = await members.set_role(call.db, organization_id, user_id, grant.role, grant.role_id)
    except asyncpg.ForeignKeyViolationError:
        raise NotFound(f"no role {grant.name}") from None
    if change is Change.LAST_OWNER:
        raise last("make another member an owner first")
    told = {"user_id": str(user_id), "role": grant.name}
    await events.emit(call.db, organization_id, "member.role_changed", told)


async def expel(call: Call, organization_id: UUID, user_id: UUID, last: type[Refusal]) -> None:
    await members.lock(call.db, organization_id)
    held = await grants.of_member(call.db, organization_id, user_id)
    if held is None:
        raise NotFound(f"no member {user_id}")
    access.may_grant(call.actor, held)
    await remove_from(call, organization_id, user_id, last)
    await invitations.revoke_of_inviter(call.db, organization_id, user_id)


async def remove_from(call: Call, organization_id: UUID, user_id: UUID, last: type[Refusal]) -> None:
    change = await members.remove(call.db, organization_id, user_id)
    if change is Change.ABSENT:
        raise NotFound(f"no member {user_id}")
    if change is Change.LAST_OWNER:
        raise last("make another member an owner first")
    await keys.revoke_of_member(call.db, organization_id, user_id)
    await events.emit(call.db, organization_id, "member.removed", {"user_id": str(user_id)})
