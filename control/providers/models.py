from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from control.api.fields import Name
from control.api.wording import shaped

Slug = Annotated[
    str,
    shaped(
        r"^[a-z0-9][a-z0-9-]{0,62}$",
        "1 to 63 lower-case letters, digits and hyphens, and not begin with a hyphen",
    ),
]
Url = Annotated[
    str, Field(min_length=1, max_length=2048, description="http or https, on the public internet.")
]
ClientId = Annotated[
    str,
    shaped(r"^[\x20-\x7e]+$", "ASCII characters without control characters", min_length=1, max_length=1024),
]
Secret = Annotated[
    SecretStr,
    Field(min_length=1, max_length=8192, description="Encrypted, and never shown again."),
]
Text = Annotated[str, Field(max_length=2000)]
Scope = Annotated[
    str,
    shaped(
        r"^[\x21\x23-\x5b\x5d-\x7e]{1,256}$",
        "1 to 256 ASCII characters without spaces, quotation marks and backslashes",
    ),
]
Scopes = Annotated[list[Scope], Field(max_length=100)]
ParameterName = Annotated[
    str,
    shaped(
        r"^[A-Za-z0-9_.-]{1,64}$", "named with 1 to 64 letters, digits, underscores, full stops and hyphens"
    ),
]
Parameters = Annotated[
    dict[ParameterName, Annotated[str, Field(max_length=1024)]],
    Field(
        max_length=20,
        description="Added to the authorization URL, like `access_type: offline`. What the protocol itself "
        "says there is not replaced.",
    ),
]
Issuer = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="Who it says it is when it sends browsers back. Set it where the provider's metadata "
        "has `authorization_response_iss_parameter_supported`: then a callback whose `iss` is another one, "
        "or that has none, is refused (RFC 9207).",
    ),
]
Method = Literal["client_secret_post", "client_secret_basic"]
POST: Method = "client_secret_post"
Pkce = Annotated[bool, Field(description="Kept for clients that ask. PKCE with S256 is always used.")]


class NewProvider(BaseModel, extra="forbid"):
    slug: Slug
    name: Name
    description: Text | None = None
    logo_url: Url | None = None
    authorization_url: Url
    token_url: Url
    revocation_url: Annotated[Url | None, Field(description="Where tokens are revoked: RFC 7009.")] = None
    userinfo_url: Url | None = None
    issuer: Issuer | None = None
    client_id: ClientId
    client_secret: Secret
    scopes: Scopes
    custom_auth_params: Parameters | None = None
    pkce_required: Pkce = True
    token_endpoint_auth_method: Method = POST


class ProviderChange(BaseModel, extra="forbid"):
    """What is not sent stays as it is; null takes away what a provider can be without."""

    slug: Slug | None = None
    name: Name | None = None
    description: Text | None = None
    logo_url: Url | None = None
    authorization_url: Url | None = None
    token_url: Url | None = None
    revocation_url: Url | None = None
    userinfo_url: Url | None = None
    issuer: Issuer | None = None
    client_id: ClientId | None = None
    client_secret: Secret | None = None
    scopes: Scopes | None = None
    custom_auth_params: Parameters | None = None
    pkce_required: Pkce | None = None
    token_endpoint_auth_method: Method | None = None
    is_active: Annotated[bool | None, Field(description="False lets nobody connect or use a connection.")] = (
        None
    )
    organization_id: Annotated[
        UUID | None, Field(description="The organization's own id, or null: a provider does not move.")
    ] = None


class Provider(BaseModel):
    id: UUID
    organization_id: UUID | None
    slug: str
    name: str
    description: str | None
    logo_url: str | None
    authorization_url: str
    token_url: str
    revocation_url: str | None
    userinfo_url: str | None
    issuer: str | None
    client_id: str
    scopes: list[str]
    custom_auth_params: dict[str, str]
    pkce_required: bool
    token_endpoint_auth_method: Method
    is_active: bool
    created_at: datetime
    updated_at: datetime
