from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from control.api.fields import Name
from control.api.v1 import Moment
from control.api.wire_ids import OrgId, PersonId


class Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)


class Profile(Wire):
    id: PersonId
    name: str
    email: Annotated[str, Field(description="Empty for an agent that gave none.")]
    email_verified: bool
    image: Annotated[str | None, Field(description="A data: URL.")]
    created_at: Moment
    updated_at: Moment
    default_org_id: Annotated[OrgId | None, Field(description="Where you act when nothing is named.")]
    last_sign_in: Moment | None


class ProfileChange(Wire):
    name: Name | None = None


class NewAvatar(Wire):
    data_uri: Annotated[str, Field(description="`data:image/png;base64,…`, or jpeg or webp; up to 256 KiB.")]


class Avatar(Wire):
    image: str | None
