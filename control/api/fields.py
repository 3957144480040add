"""Inputs that several rooms take."""

from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from control.api.wording import shaped
from control.identity.people import normal_email

OrganizationId = Annotated[
    UUID,
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "uuid"}, {"const": "default"}],
            "description": "The organization, or `default`: your key's, or your personal one when you are "
            "signed in.",
        }
    ),
]

Name = Annotated[
    str,
    shaped(
        r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$",
        "1 to 100 characters on one line, without a space at either end",
        max_length=100,
    ),
]
HYPHENATED, HYPHENATED_WORDS = (
    r"^[a-z0-9]+(-[a-z0-9]+)*$",
    "lower-case letters, digits, and single hyphens between them",
)
HeaderName = Annotated[
    str,
    shaped(
        r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$",
        "the name of an HTTP header like X-API-Key, without spaces or colons",
    ),
]
HeaderValue = Annotated[
    str,
    shaped(
        r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$",
        "ASCII characters without control characters, and no space at either end",
        max_length=4096,
    ),
]
Address = Annotated[
    str,
    shaped(
        r"^0x[0-9a-fA-F]{40}$",
        "an EVM address: 0x and 40 hexadecimal digits",
        description="An EVM address: 0x and 40 hexadecimal digits.",
    ),
]
# One mailbox, whatever program reads it: no quotes, comments or lists, which mean other recipients to some.
Email = Annotated[
    str,
    shaped(
        r'^[^\x00-\x20\x7f-\x9f\ufeff\s@<>(),:;\[\]\\"?`]{1,64}@([^\x00-,/:-@\[-`{-\x9f\ufeff\s.]+\.)+[^\x00-,/:-@\[-`{-\x9f\ufeff\s.]+$',
        "an e-mail address like ada@example.com",
        max_length=254,
    ),
]
# A person signs in with it, so that it has one spelling.
PersonEmail = Annotated[Email, AfterValidator(normal_email)]
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]


def plain_date(value: object) -> object:
    """A date and nothing else: a number would be taken for seconds."""
    if isinstance(value, str) and (len(value) != 10 or value[4] + value[7] != "--"):
        raise ValueError("is not a date like 2026-01-31")
    return value


Day = Annotated[date, BeforeValidator(plain_date)]
