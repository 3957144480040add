"""The way from an operation to the project's database, and what is written of it in the audit log."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from asyncpg.pool import Pool as AnyPool

from control.api.operation import Call
from control.computes.provider import ComputeUnavailable
from control.postgres import connecting, contents, founding, inventory
from control.studio import session, store
from control.studio.refusals import SessionRefused
from control.studio.session import Result, Session
from gateway.kit.problem import NotFound
from gateway.kit.sql import Pool

QUERY_ROWS_MAX = 1000
STATEMENT_NOTED = 1024


@asynccontextmanager
async def reading(call: Call, project_id: UUID) -> AsyncIterator[Session]:
    found = await connected(call, project_id, is_raw=False)
    async with session.within(found, is_raw=False):
        yield found


@asynccontextmanager
async def changing(call: Call, project_id: UUID, **facts: str) -> AsyncIterator[Session]:
    """What was done is committed after the audit log's row.

    A crash between the two leaves a row too many, and no change that nobody knows of.
    """
    call.note(**facts)
    async with reading(call, project_id) as found:
        yield found
        # Whatever would be looked at when it is committed may fail, and has to before the row.
        await found.script("SET CONSTRAINTS ALL IMMEDIATE", 0)
        async with call.transaction():
            pass
        await found.commit()


async def query(call: Call, project_id: UUID, statement: str) -> tuple[Result, int]:
    """The result, and how many milliseconds it took. It is in the audit log whatever becomes of it."""
    call.note(statement=statement[:STATEMENT_NOTED])
    async with call.transaction():
        pass
    found = await connected(call, project_id, is_raw=True)
    async with session.within(found, is_raw=True):
        began = time.monotonic()
        result = await found.query(statement, QUERY_ROWS_MAX)
        await found.commit()
        return result, round((time.monotonic() - began) * 1000)


async def connected(call: Call, project_id: UUID, *, is_raw: bool) -> Session:
    pool = call.db
    assert isinstance(pool, AnyPool), "no transaction of ours waits for somebody's database"
    branch_id = await branch_of(call, pool, project_id)
    databases = [name for name, _ in await inventory.rows_of_databases(pool, branch_id)]
    if not databases:
        raise SessionRefused("the project has no database: make one")
    await contents.require_wakeable(pool, call.ports.settings.plans, project_id, branch_id)
    database = founding.DATABASE if founding.DATABASE in databases else databases[0]
    computes, keyring = call.ports.computes, call.ports.keyring
    owner = await connecting.owner_of(pool, computes, keyring, branch_id)
    try:
        return await session.connect(owner, database, is_raw=is_raw)
    except ComputeUnavailable:
        # It fell asleep just then: waking it once more tells.
        owner = await connecting.owner_of(pool, computes, keyring, branch_id)
        return await session.connect(owner, database, is_raw=is_raw)


async def branch_of(call: Call, pool: Pool, project_id: UUID) -> UUID:
    """The project's default branch, which a project from before there were branches gets now."""
    found, is_ready = await store.default_branch(pool, project_id)
    if not is_ready:
        # It will be waited for, and not where nobody runs databases.
        await call.ports.computes.capabilities()
    if found is None:
        async with pool.acquire() as db, db.transaction():
            await founding.found(db, call.ports.keyring, project_id, call.actor.user_id)
        found, _ = await store.default_branch(pool, project_id)
    if found is None:
        raise NotFound("this project was deleted just now")
    return found
