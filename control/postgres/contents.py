"""What is inside a branch, and the rows that say so: brought together by looking, and changed side by side.

The server is the truth. Rows are what the proxy and listings read, so that neither wakes it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from config.plans import Plan
from control.computes.provider import ComputeProvider, ComputeUnavailable, State
from control.postgres import connecting, endpoints, inside, inventory, publications, slots
from control.postgres.inside import RefusedByPostgres
from control.postgres.inventory import Inventory
from control.postgres.publications import Published
from control.postgres.slots import Slot
from control.quotas import headroom
from gateway.kit.problem import NotFound, Refusal
from gateway.kit.sql import OUTAGES, Connection, Db, Pool, Statements

SQL = Statements(__file__)

log = logging.getLogger(__name__)

# Whoever asks for a list waits no longer for a server that is slow to say what it has.
LOOK_SECONDS = 5.0
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Contents:
    inventory: Inventory
    slots: list[Slot]
    publications: Mapping[str, Mapping[str, Published]] | None
    """By database and name; None when nobody asked, as it takes a connection to each."""


async def require(db: Db, project_id: UUID, branch_id: UUID) -> None:
    """Another project's branch is as absent as one that is not."""
    if not await db.fetchval(SQL.has_branch, project_id, branch_id):
        raise NotFound(f"no branch {branch_id}")


async def require_wakeable(db: Db, plans: Sequence[Plan], project_id: UUID, branch_id: UUID) -> None:
    """The same before its server is woken, which is refused as it is to its own clients."""
    row = await db.fetchrow(SQL.waking, project_id, branch_id)
    if row is None:
        raise NotFound(f"no branch {branch_id}")
    if not row["is_awake"]:
        await headroom.require_unspent(db, plans, row["organization_id"], "compute_seconds")


@asynccontextmanager
async def changing(
    pool: Pool,
    computes: ComputeProvider,
    transaction: AbstractAsyncContextManager[Db],
    branch_id: UUID,
    database: str = "postgres",
) -> AsyncIterator[tuple[Db, Connection]]:
    """A transaction on the rows, and a superuser's connection to what they are of, woken if it slept.

    Whoever uses it writes rows first and then Postgres, so that a row is there only if Postgres took it.
    """
    before = await pool.fetchval(SQL.before, branch_id)
    missing = NotFound(f"Postgres has no database {database} any more")
    async with AsyncExitStack() as stack:
        with inside.refusing({asyncpg.InvalidCatalogNameError: missing}):
            entered = connecting.admin(pool, computes, branch_id, database)
            connection = await stack.enter_async_context(entered)
        await inside.prepare(connection)
        db = await stack.enter_async_context(transaction)
        if await db.fetchval(SQL.hold, branch_id) != before:
            raise ComputeUnavailable("the branch was given other data just now; try again")
        yield db, connection


async def refresh(
    pool: Pool, computes: ComputeProvider, branch_id: UUID, *, with_publications: bool = False
) -> bool:
    """Bring the rows of a branch up to what its server has, if one runs. Wakes none."""
    before = await pool.fetchval(SQL.before, branch_id)
    endpoint = await running(pool, computes, branch_id, before)
    if endpoint is None:
        return False
    seen = await look(computes, endpoint, with_publications=with_publications)
    if await is_written(pool, branch_id, seen):
        return True
    async with pool.acquire() as db, db.transaction():
        if await db.fetchval(SQL.hold, branch_id) != before:
            return False
        # Again: what was made between the look and the lock is no less there.
        await write(db, branch_id, await look(computes, endpoint, with_publications=with_publications))
    return True


async def learn(pool: Pool, computes: ComputeProvider, branch_id: UUID, role: str) -> bool:
    """One role as it is in a server that runs, for somebody who waits to log in. False if none does."""
    before = await pool.fetchval(SQL.before, branch_id)
    endpoint = await running(pool, computes, branch_id, before)
    if endpoint is None:
        return False
    async with visited(computes, endpoint, "postgres") as connection:
        known = {row["name"]: row["verifier"] for row in await inventory.rows_of_roles(pool, branch_id)}
        seen = {one.name: one.verifier for one in (await inventory.look(connection)).roles}
        if role not in seen or (role in known and known[role] == seen[role]):
            return True
        async with pool.acquire() as db, db.transaction():
            if await db.fetchval(SQL.hold, branch_id) != before:
                return False
            # Again, as in ``refresh``: a password that was set in between is not put back.
            await inventory.learn(db, branch_id, await inventory.look(connection), role)
    return True


async def refresh_if_able(
    pool: Pool, computes: ComputeProvider, branch_id: UUID, *, with_publications: bool = False
) -> None:
    """For listings: where the server has nothing to say now, the rows are what was last seen."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await refresh(pool, computes, branch_id, with_publications=with_publications)
    except (Refusal, asyncpg.PostgresError, *OUTAGES) as error:
        log.info("branch %s could not be looked at: %s", branch_id, error)


async def running(pool: Pool, computes: ComputeProvider, branch_id: UUID, timeline_id: UUID) -> str | None:
    """An endpoint whose server has the branch's data."""
    for endpoint_id in await endpoints.of_branch(pool, branch_id):
        state = await computes.status(str(endpoint_id))
        if state.state is State.ACTIVE and state.timeline == str(timeline_id):
            return str(endpoint_id)
    return None


async def look(computes: ComputeProvider, endpoint: str, *, with_publications: bool) -> Contents:
    async with visited(computes, endpoint, "postgres") as connection:
        found, theirs = await inventory.look(connection), await slots.observed(connection)
    if not with_publications:
        return Contents(found, theirs, None)
    return Contents(found, theirs, await published_by(computes, endpoint, found))


async def published_by(
    computes: ComputeProvider, endpoint: str, found: Inventory
) -> dict[str, dict[str, Published]]:
    """By database and name."""
    published = {}
    for name, _ in found.databases:
        published[name] = dict[str, Published]()
        # One that refuses to be read, because of names in another encoding say, hides nothing of the others.
        with suppress(RefusedByPostgres):
            async with visited(computes, endpoint, name) as connection:
                published[name] = await publications.observed(connection)
    return published


@asynccontextmanager
async def visited(computes: ComputeProvider, endpoint: str, database: str) -> AsyncIterator[Connection]:
    with inside.refusing():
        connection = await computes.admin(endpoint, database)
        try:
            await inside.prepare(connection)
            yield connection
        finally:
            await connection.close(timeout=2)


async def is_written(pool: Pool, branch_id: UUID, seen: Contents) -> bool:
    roles = {(row["name"], row["verifier"]) for row in await inventory.rows_of_roles(pool, branch_id)}
    databases = set(await inventory.rows_of_databases(pool, branch_id))
    kept = {slots.slot(row) for row in await slots.index(pool, branch_id)}
    return (
        seen.publications is None
        and roles == {(one.name, one.verifier) for one in seen.inventory.roles}
        and databases == set(seen.inventory.databases)
        and kept == set(seen.slots)
    )


async def write(db: Db, branch_id: UUID, seen: Contents) -> None:
    await inventory.write(db, branch_id, seen.inventory)
    await slots.adopt(db, branch_id, seen.slots)
    if seen.publications is not None:
        await publications.adopt(db, branch_id, seen.publications)


async def refresh_project(pool: Pool, computes: ComputeProvider, project_id: UUID) -> None:
    for row in await pool.fetch(SQL.awake, project_id):
        await refresh_if_able(pool, computes, row["id"])


async def refresh_all(pool: Pool, computes: ComputeProvider) -> None:
    """What changes by SQL reaches the rows before a server sleeps, and the proxy while it runs."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(branch_id: UUID) -> None:
        async with at_once:
            await refresh_if_able(pool, computes, branch_id)

    await asyncio.gather(*(one(row["id"]) for row in await pool.fetch(SQL.awake, None)))
