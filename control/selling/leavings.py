"""Roles by which queries were sold, and nobody sells by any more: dropped where a server is awake anyway.

A publisher that sells less, or something else, has a role of another name. The old one's password is nowhere,
so that there is no hurry; but they would become more and more.
"""

from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog
from asyncpg import Record

from control.computes.provider import ComputeProvider
from control.postgres import connecting, contents, inside, inventory
from control.selling import branches
from gateway import published
from gateway.kit.crypto import Keyring
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES, Connection, Pool, Statements
from gateway.upstreams.branches import Branch

SQL = Statements(__file__)

GRACE = timedelta(minutes=5)
# farebox_sells_, the publisher's id, and what it sells.
PUBLISHER = slice(14, 46)

log = structlog.get_logger(__name__)


async def drop(pool: Pool, computes: ComputeProvider, keyring: Keyring, grace: timedelta = GRACE) -> int:
    """Returns how many there were."""
    found = await pool.fetch(SQL.found, grace)
    if not found:
        return 0
    sellers = {row["id"].hex: row for row in await pool.fetch(SQL.sellers, grace)}
    count = 0
    for row in found:
        if is_needed(sellers.get(row["name"][PUBLISHER]), row["branch_id"], row["name"], keyring):
            continue
        try:
            count += await drop_one(pool, computes, row["branch_id"], row["name"])
        except (Refusal, asyncpg.PostgresError, *OUTAGES) as error:
            log.warning("seller.not_dropped", branch_id=str(row["branch_id"]), error=repr(error))
    return count


def is_needed(seller: Record | None, branch_id: UUID, name: str, keyring: Keyring) -> bool:
    if seller is None:
        return False
    if seller["is_fresh"]:
        return True
    sold = published.database(dict(seller), keyring)
    return isinstance(sold, Branch) and (sold.id, sold.role) == (branch_id, name)


async def drop_one(pool: Pool, computes: ComputeProvider, branch_id: UUID, name: str) -> bool:
    async with connecting.admin(pool, computes, branch_id) as admin:
        await inside.prepare(admin)
        if await admin.fetchval(SQL.owns, name):
            log.error("seller.owns_something", branch_id=str(branch_id), role=name)
            return False
        await admin.execute(SQL.end_sessions, name)
    databases = [one for one, _ in await inventory.rows_of_databases(pool, branch_id)]
    for database in (*databases, "postgres"):
        async with connecting.admin(pool, computes, branch_id, database) as admin:
            await inside.prepare(admin)
            await disown(admin, name, is_last=database == "postgres")
    await contents.refresh_if_able(pool, computes, branch_id)
    log.info("seller.dropped", branch_id=str(branch_id), role=name)
    return True


async def disown(admin: Connection, name: str, *, is_last: bool) -> None:
    """What it may read is written down in each database, and the role for all of them."""
    async with admin.transaction():
        await admin.execute(branches.SQL.alone)
        await inside.run(admin, SQL.write_disown, name)
        if is_last:
            await inside.run(admin, SQL.write_drop, name)
