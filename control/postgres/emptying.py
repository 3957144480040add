"""A branch with its parent's schema and none of its data.

A copy is emptied under another id, and the branch is made of that: so neither its files nor its own history,
which its owner may stream or go back in, has a row of the parent's.
"""

from uuid import UUID, uuid5

from control.computes.provider import HEAD, ComputeProvider
from control.postgres import connecting, timelines
from control.postgres.operations import Job
from gateway.kit.sql import Connection, Statements

SQL = Statements(__file__)


async def make(job: Job, timeline_id: UUID) -> None:
    """Have the provider make the timeline out of a copy that is emptied first."""
    spec, source = await timelines.wanted(job.pool, timeline_id)
    assert source is not None, "the schema is its parent's"
    copy = uuid5(timeline_id, "copy")
    await job.computes.create_timeline(str(copy), spec, source)
    await empty(job.computes, copy)
    await job.computes.create_timeline(str(timeline_id), spec, (str(copy), HEAD))
    await job.computes.delete_timeline(str(copy))


async def empty(computes: ComputeProvider, timeline_id: UUID) -> None:
    """Of databases that take no connections as well: their owners say so, and may say otherwise tomorrow."""
    async with connecting.visiting(computes, timeline_id) as admin:
        await run(admin, SQL.dropping)
        closed = await run(admin, SQL.opening)
        names = [row["datname"] for row in await admin.fetch(SQL.databases)]
    for name in names:
        async with connecting.visiting(computes, timeline_id, name) as admin, admin.transaction():
            await empty_database(admin)
    if closed:
        async with connecting.visiting(computes, timeline_id) as admin:
            for name in closed:
                await admin.execute(await admin.fetchval(SQL.closing, name))


async def run(admin: Connection, statement: str) -> list[str]:
    """Have the server write statements, and carry them out. Returns what they are about."""
    rows = await admin.fetch(statement)
    for row in rows:
        await admin.execute(row["statement"])
    return [row["name"] for row in rows]


async def empty_database(admin: Connection) -> None:
    await admin.execute(SQL.silence)
    # A trigger may say that it fires for replicas too, and it would fire here as superuser.
    triggers = await admin.fetch(SQL.triggers)
    for row in triggers:
        await admin.execute(row["disable"])
    tables = await admin.fetchval(SQL.tables)
    if tables is not None:
        await admin.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
    for row in triggers:
        await admin.execute(row["enable"])
    for row in await admin.fetch(SQL.views):
        await admin.execute(row["statement"])
    await admin.fetchval(SQL.objects)
    await admin.execute(SQL.forget)
    await admin.execute(SQL.forget_more)
