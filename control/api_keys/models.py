from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from asyncpg import Record
from pydantic import BaseModel, Field

from control.api.access import Permission
from control.api.fields import Name

Mode = Literal["live", "test"]
KeyType = Annotated[
    Literal["user", "agent"], Field(description="Who holds the key: a person's tool, or an agent.")
]
Scopes = Annotated[
    list[str] | None, Field(description="All that the key may do; null for whatever its user may.")
]


class NewApiKey(BaseModel, extra="forbid"):
    name: Name
    key_type: Annotated[KeyType | None, Field(description="`user` unless an agent asks.")] = None
    agent_identity_id: Annotated[
        UUID | None,
        Field(
            description="The agent that the key acts as, by its user id. An agent that asks is the default."
        ),
    ] = None
    expires_in_days: Annotated[
        int | None, Field(ge=1, le=3650, description="Null for a key that does not expire.")
    ] = None
    scopes: Annotated[
        Annotated[list[Permission], Field(min_length=1)] | None,
        Field(description="Narrow the key to these permissions; null for whatever its user may."),
    ] = None
    mode: Annotated[
        Mode | None,
        Field(
            description="Whose money it spends. Not set: `live` if any network is, unless a test key asks."
        ),
    ] = None


class ApiKey(BaseModel):
    id: UUID
    key_id: Annotated[str, Field(description="The same id, as text.")]
    name: str
    key_prefix: Annotated[str, Field(description="How the key begins, to recognise it by.")]
    organization_id: UUID
    key_type: KeyType
    mode: Mode
    scopes: Scopes
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="Null: use is not recorded.")] = None
    revoked_at: datetime | None


class IssuedApiKey(ApiKey):
    api_key: Annotated[str, Field(description="The bearer token itself, shown this once.")]


def from_row(row: Record) -> ApiKey:
    return ApiKey(key_id=str(row["id"]), key_prefix=row["prefix"], key_type=row["kind"], **dict(row))
