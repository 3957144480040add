"""Who may log in by which password, looked at when a server is ready and when it falls asleep.

Passwords are changed by SQL as well, and whoever lets clients in goes by what is known while it sleeps.
"""

from collections.abc import Mapping

import asyncpg

from control.computes import tenants
from control.computes.derive import connect
from control.computes.postmaster import Postmaster
from gateway.kit.sql import OUTAGES


async def look(server: Postmaster) -> dict[str, str | None] | None:
    """None from a server that does not answer now."""
    try:
        connection = await connect(server.sockets)
        try:
            return {role.name: role.verifier for role in await tenants.roles(connection)}
        finally:
            await connection.close()
    except (asyncpg.PostgresError, *OUTAGES):
        return None


async def changed(server: Postmaster, before: Mapping[str, str | None] | None) -> dict[str, str | None]:
    after = None if before is None else await look(server)
    if before is None or after is None:
        return {}
    return {name: one for name, one in after.items() if name not in before or before[name] != one}
