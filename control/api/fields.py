"""Inputs that several rooms take."""

from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from control.identity.people import normal_email

OrganizationId = Annotated[
    UUID,
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "uuid"}, {"const": "default"}],
            "description": "The organization, or `default` for the one your key belongs to.",
        }
    ),
]

Name = Annotated[
    str, Field(max_length=100, pattern=r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$")
]
Address = Annotated[
    str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", description="An EVM address: 0x and 40 hexadecimal digits.")
]
# One mailbox, whatever program reads it: no quotes, comments or lists, which mean other recipients to some.
Email = Annotated[
    str,
    Field(
        max_length=254,
        pattern=r'^[^\x00-\x20\x7f-\x9f\ufeff\s@<>(),:;\[\]\\"?`]{1,64}@([^\x00-,/:-@\[-`{-\x9f\ufeff\s.]+\.)+[^\x00-,/:-@\[-`{-\x9f\ufeff\s.]+$',
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
