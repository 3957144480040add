"""Codes that people read out to each other: Crockford's base 32, which has no I, L, O and U."""

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 10
# What is taken for what when somebody types it.
ALIKE = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


def new() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def normal(text: str) -> str | None:
    """None for what is no code."""
    code = text.upper().translate(ALIKE)
    return code if len(code) == LENGTH and all(one in ALPHABET for one in code) else None
