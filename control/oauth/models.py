from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.operation import Header

RedirectUri = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="Where the browser goes afterwards: this server's own origin, one that its operator "
        "allows, or http on the user's own machine. Not sent: to `/docs` of this server, where the outcome "
        "is in the address.",
    ),
]
Code = Annotated[str | None, Field(max_length=4096, description="What the provider exchanges for tokens.")]
Secret = Annotated[
    str, Field(max_length=200, description="From the URL that the browser was sent to; good once.")
]
Slug = Annotated[
    str, Field(description="The provider's slug: your organization's own goes before the platform's.")
]
Bearer = Annotated[
    str | None,
    Header("Authorization"),
    Field(description="A credential of whoever started it; a browser has none but its cookie."),
]
Cookie = Annotated[str | None, Header("Cookie"), Field(description="A browser's session.")]
Issuer = Annotated[
    str | None, Field(max_length=2048, description="Who the provider says it is, if it does (RFC 9207).")
]
ConnectionId = Annotated[UUID, Field(description="The connection's id.")]
ErrorCode = Annotated[str | None, Field(max_length=200, description="Why the provider sends no code.")]


class Provider(BaseModel):
    """What whoever wants to connect may know."""

    id: UUID
    organization_id: Annotated[UUID | None, Field(description="Null for the platform's own.")]
    slug: str
    name: str
    description: str | None
    logo_url: str | None
    scopes: list[str]
    custom_auth_params: dict[str, str]
    is_active: bool
    created_at: datetime


class Providers(BaseModel):
    providers: list[Provider]


class Connection(BaseModel):
    id: UUID
    provider_id: UUID
    provider_slug: str
    provider_name: str
    provider_logo_url: str | None
    provider_user_id: str | None
    provider_email: str | None
    scopes: list[str]
    is_valid: Annotated[bool, Field(description="False when the provider wants you to connect again.")]
    is_default: Annotated[bool, Field(description="Always: there is one connection to a provider.")] = True
    expires_at: Annotated[
        datetime | None, Field(description="Of the token in use, which is renewed by itself where it can be.")
    ]
    last_used_at: Annotated[datetime | None, Field(description="Null: use is not recorded.")] = None
    created_at: datetime


class ConnectionList(BaseModel):
    connections: list[Connection]


class Confirmation(BaseModel, extra="forbid"):
    confirmation: Annotated[
        str,
        Field(min_length=1, max_length=200, description="From the URL that the browser was sent back to."),
    ]


class Revoked(BaseModel):
    success: bool
    message: str
