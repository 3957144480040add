"""Work on providers that outlives a request."""

from control.providers import store
from gateway.kit import crypto
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool


async def reseal(pool: Pool, keyring: Keyring) -> int:
    """Encrypt again what an older key sealed, each row in its own transaction. Returns how many."""
    count = 0
    for provider_id in await store.sealed_ids(pool):
        async with pool.acquire() as connection, connection.transaction():
            row = await store.lock_sealed(connection, provider_id)
            if row is None or keyring.is_current(row["secret_sealed"]):
                continue
            place = crypto.context(row["organization_id"], provider_id)
            secret = keyring.open(row["secret_sealed"], place)
            await store.reseal(connection, provider_id, keyring.seal(secret, place))
            count += 1
    return count
