"""The data of a new branch: empty for a project's first one, else what its parent was at a point.

The provider makes a timeline whole or not at all, and once however often it is asked; the rows that lead to
it change in one transaction when everything is there. A crash between the two leaves a timeline that the
next run finds, and that nobody could have connected to.
"""

from control.postgres import branches, connecting, inventory, preparing, timelines
from control.postgres.operations import Job, Operation
from gateway.kit.sql import Db


async def create_timeline(job: Job) -> None:
    """A project's first: empty but for its owner and a database of theirs."""
    branch = await branches.standing(job.pool, job.branch_id)
    if branch is None:
        return await abandon(job)
    info = await timelines.make(job.pool, job.computes, branch["timeline_id"])
    rows = await inventory.rows_of_roles(job.pool, job.branch_id)
    async with connecting.visiting(job.computes, branch["timeline_id"]) as admin:
        for row in rows:
            await preparing.prepare(admin, row["name"], row["verifier"])
        for name, owner in await inventory.rows_of_databases(job.pool, job.branch_id):
            await preparing.create_database(admin, name, owner)
    info = await job.computes.stat(info.id)
    async with job.finishing() as db:
        await timelines.ready(db, info)
        await branches.become(db, job.branch_id, "ready")


async def create_branch(job: Job) -> None:
    branch = await branches.standing(job.pool, job.branch_id)
    if branch is None:
        return await abandon(job)
    info = await timelines.make(job.pool, job.computes, branch["timeline_id"])
    renewed: dict[str, str] = {}
    async with connecting.visiting(job.computes, branch["timeline_id"]) as admin:
        found = await inventory.look(admin)
        if branch["is_parent_protected"]:
            renewed = await inventory.renew_passwords(admin, found)
            found = await inventory.look(admin)
    info = await job.computes.stat(info.id)
    parent_id = branch["parent_branch_id"]
    async with job.finishing() as db:
        inherited = [] if parent_id is None else await inventory.rows_of_roles(db, parent_id)
        await inventory.rewrite(
            db, job.keyring, branch["project_id"], job.branch_id, found, inherited, renewed
        )
        await timelines.ready(db, info)
        await branches.become(db, job.branch_id, "ready")


async def abandon(job: Job) -> None:
    """It was deleted before it was made; what there is of its data goes with the sweep."""
    async with job.finishing():
        pass


async def give_up(db: Db, operation: Operation, reason: str) -> None:
    assert operation.branch_id is not None
    branch = await branches.standing(db, operation.branch_id)
    if branch is not None:
        await timelines.failed(db, branch["timeline_id"])
        await branches.become(db, operation.branch_id, "failed")
