"""The bodies under ``/v1/auth``, as the clients of that API write and read them."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from control.api.fields import Name, PersonEmail
from control.api.v1 import Moment
from control.api.wire_ids import PersonId
from control.auth.models import NewPassword, Password, Token
from control.identity.people import Person
from control.identity.sessions import Shown

CallbackUrl = Annotated[
    str | None,
    Field(max_length=2000, description="Where to go afterwards: a path here, or a URL of this origin."),
]


class Wire(BaseModel):
    # Clients of that API send fields of its later versions, which it passes over.
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)


class SignUp(Wire):
    name: Name
    email: PersonEmail
    password: NewPassword
    callback_url: Annotated[CallbackUrl, Field(alias="callbackURL")] = None


class SignIn(Wire):
    email: PersonEmail
    password: Password


class ForEmail(Wire):
    email: PersonEmail
    callback_url: Annotated[CallbackUrl, Field(alias="callbackURL")] = None


class ForReset(Wire):
    email: PersonEmail
    redirect_to: CallbackUrl = None


class Reset(Wire):
    token: Token
    new_password: NewPassword


class Change(Wire):
    current_password: Password
    new_password: NewPassword


class Social(Wire):
    provider: Annotated[str, Field(max_length=100)]


class Elsewhere(Wire):
    url: Annotated[str, Field(description="Where to send the browser.")]


class Person1(Wire):
    id: PersonId
    name: str
    email: str
    email_verified: bool
    image: Annotated[str | None, Field(description="A data: URL.")]
    created_at: Moment
    updated_at: Moment


class Session1(Wire):
    id: UUID
    user_id: PersonId
    expires_at: Moment
    created_at: Moment
    updated_at: Moment
    ip_address: str | None
    user_agent: str | None


class SignedUp1(Wire):
    token: Annotated[str | None, Field(description="Null until the address is confirmed.")] = None
    user: Person1


class SignedIn1(Wire):
    redirect: bool = False
    token: Annotated[str, Field(description="An access token; browsers have the cookie and need none.")]
    user: Person1


class Current(Wire):
    session: Session1
    user: Person1


class Success(Wire):
    success: bool = True


class Status(Wire):
    status: bool = True


class CliToken(Wire):
    token: str


def person_of(person: Person) -> Person1:
    return Person1(
        id=person.id,
        name=person.name,
        email=person.email or "",
        email_verified=person.is_verified,
        image=person.avatar,
        created_at=person.created_at,
        updated_at=person.updated_at,
    )


def session_of(user_id: UUID, shown: Shown) -> Session1:
    return Session1(
        id=shown.id,
        user_id=user_id,
        expires_at=shown.expires_at,
        created_at=shown.created_at,
        updated_at=shown.last_active_at,
        ip_address=shown.address,
        user_agent=shown.user_agent,
    )
