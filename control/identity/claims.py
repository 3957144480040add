"""What somebody who signs up claims: a name and a password, until they prove that the address is theirs."""

import hmac

from control.identity import links, passwords
from control.identity.links import Claim
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Db

SALT_BYTES = 16


async def make(db: Db, keyring: Keyring, email: str, password: str, name: str) -> Claim:
    """Whoever signs up a second time with the same password claims the same, and nobody else does."""
    before = (await links.latest_claim(db, email)).password_hash
    is_same = await passwords.matching(password, (before,)) is not None
    # Made in any case, so that nobody learns from the time it takes what was claimed.
    new = await passwords.hashed(password, salt_for(keyring, email))
    return Claim(name, before if is_same else new)


def salt_for(keyring: Keyring, email: str) -> bytes:
    """The same for all claims of an address, so that those of one password agree that come at once, and do
    not see each other. Nobody without the key knows it beforehand.
    """
    key = keyring.derive(keyring.current, b"farebox claims of addresses")
    return hmac.digest(key, email.encode(), "sha256")[:SALT_BYTES]
