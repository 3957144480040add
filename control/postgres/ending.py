"""What is archived, brought back, or deleted for good."""

from uuid import UUID

from control.postgres import branches, creating, endpoints, serving, timelines
from control.postgres.operations import Job, Operation
from gateway.kit.sql import Db
from gateway.ledger import events


async def archive(job: Job) -> None:
    branch = await branches.standing(job.pool, job.branch_id)
    if branch is None or not branch["is_archived"]:
        return await creating.abandon(job)
    await stop_all(job, job.branch_id)
    timeline = str(branch["timeline_id"])
    await job.computes.archive(timeline)
    info = await job.computes.stat(timeline)
    async with job.finishing() as db:
        await timelines.ready(db, info, is_archived=True)


async def unarchive(job: Job) -> None:
    branch = await branches.standing(job.pool, job.branch_id)
    if branch is None or branch["is_archived"]:
        return await creating.abandon(job)
    timeline = str(branch["timeline_id"])
    await job.computes.unarchive(timeline)
    info = await job.computes.stat(timeline)
    async with job.finishing() as db:
        await timelines.ready(db, info)


async def delete_endpoint(job: Job) -> None:
    await serving.stop(job, job.endpoint_id)
    async with job.finishing():
        pass


async def delete_branch(job: Job) -> None:
    """The row is marked already; here its servers stop, and data that nobody points to goes."""
    await stop_all(job, job.branch_id)
    await delete_orphans(job)
    async with job.finishing() as db:
        row = await timelines.deleted_branch(db, job.branch_id)
        news = {"branch_id": str(job.branch_id), "name": row["name"]}
        await events.emit(db, row["organization_id"], "branch.deleted", news, job.operation.project_id)


async def delete_project(job: Job) -> None:
    """Its servers stop. Its data is kept for a while, and the sweep's then."""
    for branch_id in await timelines.branches_ever(job.pool, job.operation.project_id):
        await stop_all(job, branch_id)
    async with job.finishing():
        pass


async def stop_all(job: Job, branch_id: UUID) -> None:
    for endpoint_id, _ in await endpoints.ever_of_branch(job.pool, branch_id):
        await serving.stop(job, endpoint_id)
    await job.computes.stop(f"visit-{branch_id}")


async def delete_orphans(job: Job) -> None:
    for timeline_id in await timelines.orphans(job.pool, job.operation.project_id):
        await timelines.discard(job.pool, job.computes, timeline_id)


async def give_up(db: Db, operation: Operation, reason: str) -> None:
    """Deletion stays what it is, and the sweep tries again; a branch is not archived unless it is."""
    if operation.action == "archive_branch" and operation.branch_id is not None:
        await branches.archive(db, operation.branch_id, is_archived=False)
