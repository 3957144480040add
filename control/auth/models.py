from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import Email, Name, PersonEmail
from control.identity.passwords import LENGTH_MAX, LENGTH_MIN
from control.identity.people import Person
from control.identity.welcome import Agent, Setup, SkillFiles
from gateway.kit.problem import Refusal, invalid

# As one to try, any is: what is not allowed today may have been allowed once.
Password = Annotated[str, Field(max_length=LENGTH_MAX)]
NewPassword = Annotated[
    str, Field(min_length=LENGTH_MIN, max_length=LENGTH_MAX, description="Any characters; longer is better.")
]
Token = Annotated[str, Field(max_length=200, description="From the link in the mail.")]

DIFFERENT_MIN = 5


class PasswordNotSet(Refusal):
    status, slug, title = 403, "password-not-set", "This account has no password"


def check_strength(password: str, email: str, pointer: str = "body/password") -> None:
    """What length alone does not keep out (NIST SP 800-63B, section 3.1.1.2)."""
    if len(set(password)) < DIFFERENT_MIN:
        raise invalid(pointer, "repeats too few characters")
    if password.lower() in (email, email.partition("@")[0]):
        raise invalid(pointer, "is the e-mail address")


class NewAgent(BaseModel, extra="forbid"):
    email: Annotated[Email | None, Field(description="Where its owner can be reached. Optional.")] = None
    name: Annotated[Name | None, Field(description="What to call it. One is made up if you have none.")] = (
        None
    )


class RegisteredAgent(BaseModel):
    success: bool
    message: str
    verification_sent: bool
    verification_required: bool
    next_step: str
    agent: Agent
    setup: Setup
    skill_files: SkillFiles


class NewPerson(BaseModel, extra="forbid"):
    email: PersonEmail
    password: NewPassword
    name: Name
    referral_code: Annotated[
        str | None, Field(max_length=100, description="Accepted for other clients' sake, and not used.")
    ] = None


class Login(BaseModel, extra="forbid"):
    email: PersonEmail
    password: Password


class EmailOnly(BaseModel, extra="forbid"):
    email: PersonEmail


class TokenOnly(BaseModel, extra="forbid"):
    token: Token


class PasswordReset(BaseModel, extra="forbid"):
    token: Token
    new_password: NewPassword


class PasswordChange(BaseModel, extra="forbid"):
    current_password: Password
    new_password: NewPassword


class Refresh(BaseModel, extra="forbid"):
    refresh_token: Annotated[str, Field(max_length=200)]


class Message(BaseModel):
    message: str


class User(BaseModel):
    id: UUID
    email: Annotated[
        str, Field(description="Empty for an agent that gave none, and for a key without `account.read`.")
    ]
    name: str
    status: Annotated[
        Literal["active", "deleted", "disabled", "paused"],
        Field(
            description="`paused` until the address is confirmed, `disabled` while the operator suspends it."
        ),
    ] = "active"
    avatar_url: Annotated[str | None, Field(description="A data: URL.")] = None
    affiliate_referral_code: Annotated[str | None, Field(description="Always null.")] = None
    created_at: datetime


class OperatedUser(User):
    suspended_at: Annotated[datetime | None, Field(description="Null while it is not suspended.")]


class UserStanding(BaseModel, extra="forbid"):
    is_suspended: bool


class SignedUp(BaseModel):
    user: User
    message: str


class TokenPair(BaseModel):
    access_token: Annotated[str, Field(description="The bearer token for requests.")]
    refresh_token: Annotated[str, Field(description="Good for one `POST /auth/refresh`.")]
    expires_in: Annotated[int, Field(description="Seconds until the access token is over.")]


class LoggedIn(TokenPair):
    user: User
    default_organization_id: Annotated[
        UUID, Field(description="Where you act when a request names no organization.")
    ]


class Me(User):
    default_organization_id: UUID
    agent_identity_id: Annotated[UUID | None, Field(description="The agent's id, for an agent's key.")] = None
    api_key_id: Annotated[UUID | None, Field(description="Null for a session.")] = None
    api_key_scopes: Annotated[list[str] | None, Field(description="Null where the key has none.")] = None
    api_key_type: Annotated[Literal["user", "agent"] | None, Field(description="Null for a session.")] = None


def user_fields(person: Person) -> dict[str, object]:
    return {
        "id": person.id,
        "email": person.email or "",
        "name": person.name,
        "status": status_of(person),
        "avatar_url": person.avatar,
        "created_at": person.created_at,
    }


def operated_fields(person: Person) -> dict[str, object]:
    return {**user_fields(person), "suspended_at": person.suspended_at}


def status_of(person: Person) -> str:
    """In the words of the reference. An agent's address is not confirmed, and nothing waits for that."""
    if person.suspended_at is not None:
        return "disabled"
    return "active" if person.is_verified or person.kind == "agent" else "paused"
