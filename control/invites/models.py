from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import PersonEmail
from control.api.permissions import V1Role
from control.api.v1 import Camel, CamelBody, Moment
from control.api.wire_ids import InvitationId, OrgId, PersonId, ProjectId

Token = Annotated[str, Field(min_length=10, max_length=1024, description="From the link in the mail.")]
Callback = Annotated[
    str | None,
    Field(
        alias="callbackURL",
        max_length=2000,
        description="The page that the link in the mail opens, with `?token=`: one of this installation.",
    ),
]


class NewInvite(BaseModel, extra="forbid"):
    email: PersonEmail
    role: Annotated[str | None, Field(max_length=100, description="A role's name; `editor` if not set.")] = (
        None
    )


class Invite(BaseModel):
    id: UUID
    organization_id: UUID
    email: str
    role: str
    invited_by: UUID
    expires_at: datetime
    created_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None


class InviteToken(BaseModel, extra="forbid"):
    token: Token


class AcceptedInvite(BaseModel):
    organization_id: UUID
    organization_name: str
    role: str
    affiliate_referral_code: Annotated[None, Field(description="Null: nobody earns by referring.")] = None


class V1NewInvitation(CamelBody):
    email: PersonEmail
    role: Literal["viewer", "developer", "admin"] = "developer"
    callback_url: Callback = None


class V1Invitation(Camel):
    id: InvitationId
    email: str
    role: V1Role
    expires_at: Moment
    accepted_at: Moment | None
    revoked_at: Moment | None
    created_at: Moment


class V1Invitations(Camel):
    invitations: list[V1Invitation]


class V1Invited(Camel):
    id: InvitationId
    email: str
    role: V1Role
    expires_at: Moment


class V1InvitedShown(Camel):
    invitation: V1Invited


class V1Mine(Camel):
    id: InvitationId
    project_id: ProjectId
    role: V1Role
    invited_by: PersonId
    expires_at: Moment


class V1MineList(Camel):
    invitations: list[V1Mine]


class V1Accept(CamelBody):
    token: Token


class V1Accepted(Camel):
    accepted: Literal[True] = True
    org_id: OrgId
    role: V1Role


class V1ProjectAccepted(Camel):
    project_id: ProjectId
    user_id: PersonId
    role: V1Role


class V1Revoked(Camel):
    revoked: InvitationId
