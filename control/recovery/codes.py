"""The codes that recover an account.

120 random bits in Crockford's base 32, whose letters nobody takes for digits; so a plain hash is enough to
store one and to find it by.
"""

import hashlib
import secrets

LENGTH = 24
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MISREAD = str.maketrans("OIL", "011")


def new() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def normal(text: str) -> str:
    """The code as it was shown, however it was written down."""
    return "".join(text.replace("-", "").split()).upper().translate(MISREAD)


def fingerprint(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
