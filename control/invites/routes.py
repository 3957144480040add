from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID

from control.api import access, grants, permissions
from control.api.access import PermissionNotHeld
from control.api.answers import Created
from control.api.fields import OrganizationId
from control.api.grants import Grant
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.permissions import FROM_V1, TO_V1
from control.api.wire_ids import InvitationId, OrgId, ProjectId, RootInvitationId
from control.identity import invitations
from control.identity.invitations import Accepted, NewInvitation
from control.invites import letters, store
from control.invites.models import (
    AcceptedInvite,
    Invite,
    InviteToken,
    NewInvite,
    V1Accept,
    V1Accepted,
    V1Invitations,
    V1Invited,
    V1InvitedShown,
    V1MineList,
    V1NewInvitation,
    V1ProjectAccepted,
    V1Revoked,
)
from control.mail import limits, outbox
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.ledger import events

room = Room("invites", "/organizations/{organization_id}/invites")
V1_ORG = "/v1/orgs/{organization_id}/invitations"
V1_PROJECT = "/v1/projects/{project_id}/invitations"
NEW_LINK = "whoever is invited again gets a new link, and the old one is over"
UNKNOWN_OR_OVER = (
    f"this invitation is unknown, used, over, or was sent to another address than your account's; {NEW_LINK}"
)


class InviteOver(Refusal):
    status, slug, title = 400, "invitation-invalid", "The invitation cannot be accepted"


@room.get(access="members.read", id="list_invites")
async def index(call: Call, organization_id: OrganizationId) -> Data[list[Invite]]:
    """List an organization's invitations, the newest 500 first, those that are over included."""
    return Data(data=await store.every(call.db, organization_id))


@room.post(access="members.write", fails=[PermissionNotHeld], id="create_invite")
async def create(call: Call, organization_id: OrganizationId, *, body: NewInvite) -> Created[Data[Invite]]:
    """Invite somebody by mail.

    The link in the mail works once, within a week, for an account with this address. Inviting the address
    again sends a new link and ends the old one. A role that grants more than you have is refused.
    """
    grant = await grants.by_name(call.db, organization_id, body.role or "editor")
    if grant is None:
        raise invalid("body/role", "is not a role of this organization")
    row = await invite(call, body.email, grant, None, None, grant.name)
    return Created(Data(data=Invite(**{**row, "role": grant.name})))


@room.delete("/{invite_id}", access="members.write", fails=[NotFound], id="revoke_invite")
async def revoke(call: Call, organization_id: OrganizationId, invite_id: RootInvitationId) -> None:
    """Revoke an invitation. Its link opens nothing from then on."""
    if not await invitations.revoke(call.db, organization_id, None, invite_id):
        raise NotFound(f"no open invitation {invite_id}")


@room.post(
    at="/auth/accept-invite",
    access="account.write",
    fails=[NotFound, InviteOver, QuotaExceeded],
    id="accept_organization_invite",
)
async def accept(call: Call, *, body: InviteToken) -> Data[AcceptedInvite]:
    """Join an organization that you were invited to.

    The invitation must have been sent to your account's address. A member stays in the role they have.
    """
    if not await invitations.is_known(call.db, body.token):
        raise NotFound(f"no such invitation; {NEW_LINK}")
    accepted = await accepted_by(call, body.token, is_project=False)
    if accepted is None:
        raise InviteOver("this invitation is used, over, or was sent to another address than your account's")
    return Data(
        data=AcceptedInvite(
            organization_id=accepted.organization_id,
            organization_name=accepted.organization_name,
            role=accepted.role,
        )
    )


@room.get(at=V1_ORG, access="members.read", id="v1_list_org_invitations")
async def index_v1(call: Call, organization_id: OrgId) -> V1Invitations:
    """List an organization's invitations, the newest 500 first, those that are over included."""
    return V1Invitations(invitations=await store.every_v1(call.db, organization_id, None))


@room.post(at=V1_ORG, access="members.write", fails=[PermissionNotHeld], id="v1_create_org_invitation")
async def create_v1(call: Call, organization_id: OrgId, *, body: V1NewInvitation) -> V1InvitedShown:
    """Invite somebody to an organization by mail. Nobody is invited as an owner.

    The link in the mail works once, within a week, for an account with this address. Inviting the address
    again sends a new link and ends the old one.
    """
    grant = await grants.by_name(call.db, organization_id, FROM_V1[body.role])
    assert grant is not None, "these roles are built in"
    row = await invite(call, body.email, grant, None, body.callback_url, body.role)
    return V1InvitedShown(invitation=V1Invited(**{**row, "role": body.role}))


@room.delete(
    at=f"{V1_ORG}/{{invitation_id}}",
    access="members.write",
    fails=[NotFound],
    id="v1_revoke_org_invitation",
)
async def revoke_v1(call: Call, organization_id: OrgId, invitation_id: InvitationId) -> V1Revoked:
    """Revoke an invitation to an organization."""
    if not await invitations.revoke(call.db, organization_id, None, invitation_id):
        raise NotFound("no such open invitation")
    return V1Revoked(revoked=invitation_id)


@room.post(
    at="/v1/org-invitations/accept",
    access="account.write",
    fails=[InviteOver, QuotaExceeded],
    id="v1_accept_org_invitation",
)
async def accept_v1(call: Call, *, body: V1Accept) -> V1Accepted:
    """Join an organization that you were invited to. A member stays in the role they have."""
    accepted = await accepted_by(call, body.token, is_project=False)
    if accepted is None:
        raise InviteOver(UNKNOWN_OR_OVER)
    return V1Accepted(org_id=accepted.organization_id, role=v1_role(accepted))


@room.get(at=V1_PROJECT, access="members.read", id="v1_list_project_invitations")
async def project_index(call: Call, project_id: ProjectId) -> V1Invitations:
    """List a project's invitations, the newest 500 first, those that are over included."""
    found = await store.every_v1(call.db, call.actor.organization_id, project_id)
    return V1Invitations(invitations=found)


@room.post(
    at=V1_PROJECT, access="members.write", fails=[PermissionNotHeld], id="v1_create_project_invitation"
)
async def project_create(
    call: Call, project_id: ProjectId, *, body: V1NewInvitation
) -> Created[V1InvitedShown]:
    """Invite somebody to one project, and to nothing else of its organization.

    The link in the mail works once, within a week, for an account with this address.
    """
    role = FROM_V1[body.role]
    grant = Grant(role, None, role, permissions.of_project(role))
    row = await invite(call, body.email, grant, project_id, body.callback_url, body.role)
    return Created(V1InvitedShown(invitation=V1Invited(**{**row, "role": body.role})))


@room.delete(
    at=f"{V1_PROJECT}/{{invitation_id}}",
    access="members.write",
    fails=[NotFound],
    id="v1_revoke_project_invitation",
)
async def project_revoke(call: Call, project_id: ProjectId, invitation_id: InvitationId) -> V1Revoked:
    """Revoke an invitation to a project."""
    if not await invitations.revoke(call.db, call.actor.organization_id, project_id, invitation_id):
        raise NotFound("no such open invitation")
    return V1Revoked(revoked=invitation_id)


@room.get(at="/v1/me/invitations", access="account.read", id="v1_list_my_invitations")
async def mine(call: Call) -> V1MineList:
    """List the invitations to projects that wait for your address."""
    return V1MineList(invitations=await store.mine(call.db, call.actor.user_id))


@room.post(
    at="/v1/me/invitations/accept", access="account.write", fails=[InviteOver], id="v1_accept_my_invitation"
)
async def accept_mine(call: Call, *, body: V1Accept) -> V1ProjectAccepted:
    """Join a project that you were invited to. A member stays in the role they have."""
    accepted = await accepted_by(call, body.token, is_project=True)
    if accepted is None or accepted.project_id is None:
        raise InviteOver(UNKNOWN_OR_OVER)
    return V1ProjectAccepted(
        project_id=accepted.project_id, user_id=call.actor.user_id, role=v1_role(accepted)
    )


async def invite(
    call: Call, email: str, grant: Grant, project_id: UUID | None, callback: str | None, role: str
) -> dict[str, Any]:
    """``role`` is what the letter calls it: the name that the inviter used."""
    access.may_grant(call.actor, grant.permissions)
    await limits.require(call, "invitation", email)
    organization_id = call.actor.organization_id
    new = NewInvitation(organization_id, email, grant.role, grant.role_id, call.actor.user_id, project_id)
    row, token = await invitations.invite(call.db, new)
    call.about(row["id"])
    told = {"invitation_id": str(row["id"]), "email": email, "role": grant.name}
    told["invited_by"] = str(call.actor.user_id)
    await events.emit(call.db, organization_id, "member.invited", told, project_id)
    inviter, what = await store.names(call.db, call.actor.user_id, organization_id, project_id)
    url = link_to(call, callback, token, "project" if project_id else "invite")
    await outbox.post(call.db, email, letters.invitation(inviter, what, role, url), invitations.LIFETIME)
    return dict(row)


def link_to(call: Call, callback: str | None, token: str, kind: str) -> str:
    """Where the link in the mail leads: our mail must not send people with their token to anybody's site."""
    if callback is None:
        return letters.link(call.ports.origin, kind, token)
    try:
        parts = urlsplit(callback)
    except ValueError:
        raise invalid("body/callbackURL", "is not a URL") from None
    if f"{parts.scheme}://{parts.netloc}".lower() != call.ports.origin.lower():
        raise invalid("body/callbackURL", f"is not a page of {call.ports.origin}")
    query = "&".join(filter(None, [parts.query, urlencode({"token": token})]))
    return urlunsplit(parts._replace(query=query, fragment=""))


async def accepted_by(call: Call, token: str, *, is_project: bool) -> Accepted | None:
    accepted = await invitations.accept(call.db, token, call.actor.user_id, is_project=is_project)
    if accepted is not None:
        if accepted.project_id is None:
            # They are counted already. When this refuses, nothing happened, and the link still works.
            plans = call.ports.settings.plans
            await headroom.require(call.db, plans, accepted.organization_id, "members", adding=0)
        # It is told where it changed something, which is not where the asker is at home.
        call.about(accepted.invitation_id, organization_id=accepted.organization_id)
    return accepted


def v1_role(accepted: Accepted) -> permissions.V1Role:
    role = accepted.role if accepted.role_id is None else None
    if role is not None and grants.is_built_in(role):
        return TO_V1[role]
    return permissions.as_v1(None, accepted.permissions)
