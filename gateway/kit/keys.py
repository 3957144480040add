"""The form of an API key: a prefix that says whose money it spends or that it is a project's, random digits,
and a checksum.

The checksum lets a mistyped key be refused without asking the database. A key is stored as its SHA-256: it is
long and random, so a plain hash is enough to store and to find it by.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import Literal

ALPHABET = string.digits + string.ascii_letters
FORM = re.compile(r"(fb_(?:live|test)_[0-9A-Za-z]{27}|brk_[0-9A-Za-z]{37})([0-9A-Za-z]{6})", re.ASCII)


def new(mode: Literal["live", "test"]) -> str:
    # 27 digits in base 62 carry 160 bits.
    body = f"fb_{mode}_{''.join(secrets.choice(ALPHABET) for _ in range(27))}"
    return body + checksum(body)


def new_for_project() -> str:
    """As long as clients of ``/v1`` know such keys to be."""
    body = f"brk_{''.join(secrets.choice(ALPHABET) for _ in range(37))}"
    return body + checksum(body)


def is_well_formed(key: str) -> bool:
    match = FORM.fullmatch(key)
    return match is not None and checksum(match[1]) == match[2]


def fingerprint(key: str) -> bytes:
    # Header bytes that are not UTF-8 arrive as surrogates, which only this error handler can encode.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def prefix(key: str) -> str:
    """The part that may be shown: ``fb_live_4kQ2``."""
    return key[:12]


def checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits
