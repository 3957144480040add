"""The operator's first key, made when an installation starts for the first time."""

from typing import Literal

from control.identity import keys
from gateway.kit.sql import Pool
from gateway.ledger.accounts import PLATFORM


async def ensure_operator(pool: Pool, mode: Literal["live", "test"] = "live") -> str | None:
    """Return the operator's API key the first time; None ever after, also when that key was revoked."""
    async with pool.acquire() as connection, connection.transaction():
        if not await keys.lock_unless_issued(connection, PLATFORM):
            return None
        # Migration 0001 gave the platform one member, the operator, under the platform's own id.
        new = keys.NewKey(PLATFORM, PLATFORM, "operator", "user", mode)
        _, key = await keys.issue(connection, new)
    return key
