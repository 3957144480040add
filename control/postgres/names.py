"""Names as Postgres has them: of roles, databases, publications and slots."""

from typing import Annotated

from pydantic import AfterValidator, Field

from control.api.wording import shaped

# What Postgres keeps of a name. It would cut a longer one, and two would be one.
BYTES_MAX = 63
RESERVED = frozenset({"cloud_admin", "postgres", "public", "none", "template0", "template1"})
# Postgres's own, and ours.
RESERVED_PREFIXES = ("pg_", "farebox_")


def is_short(name: str) -> str:
    if len(name.encode()) > BYTES_MAX:
        raise ValueError(f"should have at most {BYTES_MAX} bytes")
    return name


def is_free(name: str) -> str:
    if name in RESERVED or name.startswith(RESERVED_PREFIXES):
        taken = ", ".join([*sorted(RESERVED), *(f"{prefix}*" for prefix in RESERVED_PREFIXES)])
        raise ValueError(f"is a name that is taken by Postgres or by us: {taken}")
    return is_short(name)


VISIBLE, VISIBLE_WORDS = r"^[^\x00-\x1f\x7f]+$", "text without control characters, and some of it"

Visible = Annotated[str, shaped(VISIBLE, VISIBLE_WORDS)]
NewName = Annotated[Visible, Field(max_length=BYTES_MAX), AfterValidator(is_free)]
KnownName = Annotated[Visible, Field(max_length=BYTES_MAX), AfterValidator(is_short)]
IdOrName = Annotated[Visible, Field(max_length=BYTES_MAX, description="Its id or its name.")]
SlotName = Annotated[str, shaped(r"^[a-z0-9_]{1,63}$", "1 to 63 lower-case letters, digits and underscores")]
# In ASCII there is one way to prepare a password, and every client takes it.
Password = Annotated[
    str, shaped(r"^[\x20-\x7e]*$", "printable ASCII characters", min_length=8, max_length=128)
]
