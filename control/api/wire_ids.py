"""One id, two spellings: a UUID at the root, and under ``/v1`` a prefix and a ULID, ``p_01J…``.

Both write down the same 128 bits, so nothing is lost in moving between them. A request may use either;
answers under ``/v1`` are in the second. People are the exception there: their ids are 32 hexadecimal digits.
"""

import re
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

# Crockford's: without the letters that are mistaken for others.
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
VALUES = {digit: value for value, digit in enumerate(DIGITS)}
LENGTH = 26
CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
HEXADECIMAL = re.compile(r"[0-9a-f]{32}", re.IGNORECASE | re.ASCII)


def spell(prefix: str, value: UUID) -> str:
    number = value.int
    return f"{prefix}_" + "".join(DIGITS[number >> 5 * at & 31] for at in range(LENGTH - 1, -1, -1))


def spell_person(value: UUID) -> str:
    return value.hex


def read(prefix: str, text: str) -> UUID | None:
    """None for what is neither spelling."""
    if CANONICAL.fullmatch(text) or (prefix == "" and HEXADECIMAL.fullmatch(text)):
        return UUID(text)
    start, _, ulid = text.partition("_")
    if not prefix or start != prefix or len(ulid) != LENGTH or any(one not in VALUES for one in ulid.upper()):
        return None
    number = 0
    for one in ulid.upper():
        number = number << 5 | VALUES[one]
    # 26 digits have room for 130 bits.
    return UUID(int=number) if number < 1 << 128 else None


def read_any(text: str) -> UUID | None:
    """Whatever it is the id of."""
    return read(text.partition("_")[0] if "_" in text else "", text)


def reader(prefix: str) -> BeforeValidator:
    def parse(value: object) -> object:
        if not isinstance(value, str):
            return value
        found = read(prefix, value)
        if found is None:
            raise ValueError("is not an id of this kind")
        return found

    return BeforeValidator(parse)


def writer(prefix: str) -> PlainSerializer:
    return PlainSerializer(partial(spell, prefix), return_type=str)


def schema(prefix: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{prefix}_[0-7][0-9A-HJKMNP-TV-Z]{{25}}$"})


def either(prefix: str) -> BeforeValidator:
    """At the root, where a UUID is what the document says; what is neither is a UUID's to refuse."""

    def parse(value: object) -> object:
        return value if not isinstance(value, str) else read(prefix, value) or value

    return BeforeValidator(parse)


def parse_any(value: object) -> object:
    return value if not isinstance(value, str) else read_any(value) or value


PROJECT, ORGANIZATION, KEY, INVITATION = "p", "org", "k", "ev"
# A person's has no prefix.
PERSON = ""

ProjectId = Annotated[UUID, reader(PROJECT), writer(PROJECT), schema(PROJECT)]
OrgId = Annotated[UUID, reader(ORGANIZATION), writer(ORGANIZATION), schema(ORGANIZATION)]
KeyId = Annotated[UUID, reader(KEY), writer(KEY), schema(KEY)]
InvitationId = Annotated[UUID, reader(INVITATION), writer(INVITATION), schema(INVITATION)]
RootOrganizationId = Annotated[UUID, either(ORGANIZATION)]
RootProjectId = Annotated[UUID, either(PROJECT)]
RootKeyId = Annotated[UUID, either(KEY)]
RootInvitationId = Annotated[UUID, either(INVITATION)]
AnyId = Annotated[UUID, BeforeValidator(parse_any)]
PersonId = Annotated[
    UUID,
    reader(PERSON),
    PlainSerializer(spell_person, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
]
