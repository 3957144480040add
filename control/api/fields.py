"""Inputs that several rooms take."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, WithJsonSchema

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
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
