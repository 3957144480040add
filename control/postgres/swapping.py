"""A branch is given other data: what its parent is now, or what it or another branch was.

The new timeline is made while the branch goes on. Then its endpoints stop, so that nothing is written to what
it pointed to, the pointer is swapped in the transaction that ends the operation, and whoever connects
meanwhile waits and finds the new data. What runs on the old data by a start that came in between is stopped
by whoever started it, which looks at the pointer again.
"""

from uuid import UUID

from asyncpg import Record

from control.postgres import branches, contents, creating, endpoints, inventory, serving, timelines
from control.postgres.creating import told
from control.postgres.operations import Job, Operation
from control.postgres.refusals import BranchNotReady, NoParent
from gateway.kit.sql import Db
from gateway.ledger import events


async def reset(job: Job) -> None:
    branch = await branches.standing(job.pool, job.branch_id)
    if branch is None:
        return await creating.abandon(job)
    if branch["parent_branch_id"] is None:
        raise NoParent("its parent was deleted")
    timeline_id = job.argument("timeline_id")
    made = await creating.derive(job, timeline_id, is_renewed=branch["is_parent_protected"])
    running = await fence(job)
    async with job.finishing() as db:
        await branches.lock_project(db, branch["project_id"])
        inherited = [
            *await inventory.rows_of_roles(db, branch["parent_branch_id"]),
            *await inventory.rows_of_roles(db, job.branch_id),
        ]
        await made.write(db, job, branch["project_id"], job.branch_id, inherited)
        await branches.point(
            db, job.branch_id, timeline_id, branch["parent_branch_id"], made.info.parent_lsn, is_reset=True
        )
        await events.emit(db, branch["organization_id"], "branch.reset", told(branch), branch["project_id"])
    await resume(job, running)


async def restore(job: Job) -> None:
    branch = await branches.standing(job.pool, job.branch_id)
    backup_id, timeline_id = job.argument("backup_branch_id"), job.argument("timeline_id")
    backup = await branches.standing(job.pool, backup_id)
    if branch is None:
        return await creating.abandon(job)
    if backup is None:
        raise BranchNotReady("the branch that was to keep what it had was deleted")
    source_id = job.argument("source_branch_id")
    source = await branches.standing(job.pool, source_id)
    is_renewed = source_id != job.branch_id and source is not None and bool(source["is_protected"])
    made = await creating.derive(job, timeline_id, is_renewed=is_renewed)
    running = await fence(job)
    async with job.finishing() as db:
        await branches.lock_project(db, branch["project_id"])
        inherited = [
            *await inventory.rows_of_roles(db, source_id), *await inventory.rows_of_roles(db, job.branch_id)
        ]  # fmt: skip
        await keep(db, job, branch, backup_id)
        await made.write(db, job, branch["project_id"], job.branch_id, inherited)
        await branches.point(db, job.branch_id, timeline_id, backup_id, made.info.parent_lsn, is_reset=False)
        news = {**told(branch), "backup_branch_id": str(backup_id)}
        await events.emit(db, branch["organization_id"], "branch.restored", news, branch["project_id"])
    await resume(job, running)


async def keep(db: Db, job: Job, branch: Record, backup_id: UUID) -> None:
    """The backup has the data that the branch had, with its roles and its children."""
    await inventory.copy(db, job.keyring, branch["project_id"], job.branch_id, backup_id)
    await branches.hand_over(db, job.branch_id, backup_id)
    await branches.become(db, backup_id, "ready")


async def fence(job: Job) -> list[UUID]:
    """Nobody gets in, and nothing runs any more. Returns the endpoints that did."""
    # What is kept of it is kept with the roles and passwords that it has by now.
    await contents.refresh_if_able(job.pool, job.computes, job.branch_id)
    await branches.become(job.pool, job.branch_id, "swapping")
    running = []
    for endpoint_id, status in await endpoints.ever_of_branch(job.pool, job.branch_id):
        if status in ("active", "starting"):
            running.append(endpoint_id)
        await serving.stop(job, endpoint_id)
    await job.computes.stop(f"visit-{job.branch_id}")
    return running


async def resume(job: Job, running: list[UUID]) -> None:
    """Whoever comes wakes it; but what ran is up again before they come, if that is to be had."""
    for endpoint_id in running:
        await serving.start_if_possible(job, endpoint_id)


async def give_up(db: Db, operation: Operation, reason: str) -> None:
    """The branch keeps what it has."""
    assert operation.branch_id is not None
    await timelines.failed(db, UUID(operation.arguments["timeline_id"]))
    backup_id = operation.arguments.get("backup_branch_id")
    if backup_id is not None:
        await endpoints.delete_of_branch(db, UUID(backup_id))
        await branches.delete(db, UUID(backup_id), None)
    branch = await branches.standing(db, operation.branch_id)
    if branch is not None:
        await branches.become(db, operation.branch_id, "ready")
        news = {**told(branch), "action": operation.action, "reason": reason}
        await events.emit(db, branch["organization_id"], "branch.failed", news, branch["project_id"])
