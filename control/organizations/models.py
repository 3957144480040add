from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import HYPHENATED, HYPHENATED_WORDS, Name
from control.api.v1 import Camel, CamelBody, Moment
from control.api.wire_ids import OrgId
from control.api.wording import shaped

Slug = Annotated[str, shaped(HYPHENATED, HYPHENATED_WORDS, min_length=2, max_length=40)]


class Organization(BaseModel):
    id: UUID
    name: str
    slug: str
    created_by: UUID
    is_personal: Annotated[bool, Field(description="Whether it came with its owner's account.")]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    stripe_customer_id: Annotated[str | None, Field(description="Null: cards are not taken yet.")] = None


class OperatedOrganization(Organization):
    suspended_at: Annotated[datetime | None, Field(description="Null while it is not suspended.")]


class Suspension(BaseModel, extra="forbid"):
    is_suspended: bool


class V1NewOrg(CamelBody):
    name: Annotated[Name, Field(min_length=2)]
    slug: Annotated[Slug | None, Field(description="Made from the name if not set.")] = None


class V1OrgChange(CamelBody):
    name: Annotated[Name, Field(min_length=2)]


class V1Org(Camel):
    id: OrgId
    slug: str
    name: str
    personal: bool
    created_at: Moment


class V1OrgShown(Camel):
    org: V1Org


class V1Orgs(Camel):
    orgs: list[V1Org]


class V1Deleted(Camel):
    deleted: OrgId
