"""Long random words, shown once and stored as their SHA-256: cookies, refresh tokens, links in mail."""

import hashlib
import secrets


def new() -> str:
    return secrets.token_urlsafe(32)


def fingerprint(word: str) -> bytes:
    # It is long and random, so a plain hash is enough to store and to find it by.
    return hashlib.sha256(word.encode("utf-8", "surrogateescape")).digest()
