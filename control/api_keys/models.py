from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from asyncpg import Record
from pydantic import BaseModel, Field

from control.api.fields import Name
from control.api.permissions import TO_V1, Permission, V1Role
from control.api.v1 import Camel, CamelBody, Moment
from control.api.wire_ids import KeyId
from control.api.wording import shaped
from gateway.kit.money import to_text
from gateway.ledger import caps
from gateway.ledger.caps import Spending

Mode = Literal["live", "test"]
V1KeyRole = Literal["viewer", "developer", "admin"]
KeyType = Annotated[
    Literal["user", "agent"], Field(description="Who holds the key: a person's tool, or an agent.")
]
Scopes = Annotated[
    list[str] | None, Field(description="All that the key may do; null for whatever its user may.")
]


Cap = Annotated[
    str,
    shaped(
        r"^((0|[1-9][0-9]*)(\.[0-9]{1,6}0*)?)?$",
        'an amount with up to 6 decimals like "2.50", or empty for no limit',
        max_length=32,
        description='Decimal text with up to 6 decimals, like "2.50". Every asset counts at its face value.',
    ),
]


class NewSpendCaps(BaseModel, extra="forbid"):
    """The most that a key may spend of its organization's balance."""

    per_call: Annotated[Cap | None, Field(description="For any one call.")] = None
    per_day: Annotated[Cap | None, Field(description="For all calls of a UTC day.")] = None
    total: Annotated[Cap | None, Field(description="For all calls, ever.")] = None


class SpendCapsChange(NewSpendCaps):
    """What is not sent stays as it is; empty text takes a cap away."""


class SpendCaps(BaseModel):
    per_call: str | None
    per_day: str | None
    total: str | None
    spent_today: Annotated[str, Field(description="Charged today, UTC, or held for calls under way.")]
    spent_total: Annotated[
        str, Field(description="Charged, or held, since the key was given its first caps.")
    ]
    resets_at: Annotated[datetime, Field(description="When `spent_today` starts anew.")]


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
    spend_caps: Annotated[
        NewSpendCaps | None, Field(description="Null for a key that may spend the whole balance.")
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
    last_used_at: Annotated[
        datetime | None, Field(description="To the minute or so; null for a key that was never used.")
    ] = None
    revoked_at: datetime | None
    spend_caps: Annotated[SpendCaps | None, Field(description="Null for a key that never had caps.")] = None


class IssuedApiKey(ApiKey):
    api_key: Annotated[str, Field(description="The bearer token itself, shown this once.")]


class ScopesChange(BaseModel, extra="forbid"):
    scopes: Annotated[
        list[Permission], Field(min_length=1, description="All that the key may do from now on.")
    ]


class V1NewKey(CamelBody):
    name: Annotated[Name, Field(max_length=80)]
    role: Annotated[
        V1KeyRole | None, Field(description="What the key may do in the project; `admin` if not set.")
    ] = None
    scope: Annotated[V1KeyRole | None, Field(description="Another name for `role`.")] = None
    expires_in_days: Annotated[int | None, Field(ge=1, le=365)] = None


class V1KeyRename(CamelBody):
    name: Annotated[Name, Field(max_length=80)]


class V1Key(Camel):
    id: KeyId
    name: str
    suffix: Annotated[str, Field(description="How the key ends, to recognise it by.")]
    role: V1Role
    created_at: Moment
    last_used_at: Moment | None = None
    expires_at: Moment | None
    revoked_at: Moment | None


class V1Keys(Camel):
    keys: list[V1Key]


class V1Issued(Camel):
    key: V1Key
    plaintext: Annotated[str, Field(description="The key itself, shown this once.")]


class V1Renamed(Camel):
    key_id: KeyId
    name: str


class V1Revoked(Camel):
    revoked: KeyId


def from_row(row: Record, spending: Mapping[UUID, Spending]) -> ApiKey:
    return ApiKey(
        key_id=str(row["id"]),
        key_prefix=row["prefix"],
        key_type=row["kind"],
        spend_caps=shown(spending.get(row["id"])),
        **dict(row),
    )


def v1_from_row(row: Record) -> V1Key:
    return V1Key(
        id=row["id"],
        name=row["name"],
        suffix=row["suffix"],
        role=TO_V1[row["project_role"]],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def shown(spending: Spending | None) -> SpendCaps | None:
    if spending is None:
        return None
    one = spending.caps
    return SpendCaps(
        per_call=text(one.per_call),
        per_day=text(one.per_day),
        total=text(one.total),
        spent_today=to_text(spending.spent_today, caps.DECIMALS),
        spent_total=to_text(spending.spent_total, caps.DECIMALS),
        resets_at=spending.resets_at,
    )


def text(cap: int | None) -> str | None:
    return None if cap is None else to_text(cap, caps.DECIMALS)
