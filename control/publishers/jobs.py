"""Work on publishers that outlives a request."""

from control.publishers import store
from gateway.kit import crypto
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool


async def reseal(pool: Pool, keyring: Keyring) -> int:
    """Encrypt every publisher's credentials again that an older key sealed, so that key can be retired.

    Returns how many there were. Each row is its own transaction: whoever saves a publisher meanwhile waits
    for one row, and what they save is not overwritten.
    """
    count = 0
    for publisher_id in await store.sealed_ids(pool):
        async with pool.acquire() as connection, connection.transaction():
            row = await store.lock_sealed(connection, publisher_id)
            if row is None:
                continue
            sealed = [row["auth_sealed"], row["database_sealed"]]
            if all(one is None or keyring.is_current(one) for one in sealed):
                continue
            context = crypto.context(row["organization_id"], publisher_id)
            again = [one and keyring.seal(keyring.open(one, context), context) for one in sealed]
            await store.replace_sealed(connection, publisher_id, *again)
            count += 1
    return count
