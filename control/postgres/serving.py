"""Starting and stopping endpoints because somebody asked for it."""

from uuid import UUID

import structlog

from control.postgres import connecting, contents, endpoints
from control.postgres.operations import Job, Operation
from gateway.kit.problem import NotFound, Refusal
from gateway.kit.sql import Db

log = structlog.get_logger(__name__)


async def start(job: Job) -> None:
    # Deleted or stopped by whoever came after: then there is nothing to start.
    try:
        await connecting.wake(job.pool, job.computes, job.endpoint_id)
    except (NotFound, connecting.EndpointStopped):
        await stop(job, job.endpoint_id)
    async with job.finishing():
        pass


async def suspend(job: Job) -> None:
    # The proxy goes by what is known now of roles and passwords, until it runs again.
    if job.operation.branch_id is not None:
        await contents.refresh_if_able(job.pool, job.computes, job.branch_id)
    await stop(job, job.endpoint_id)
    async with job.finishing():
        pass


async def restart(job: Job) -> None:
    """With the size that it has by now. Not if it sleeps: it wakes with that."""
    row = await endpoints.serving(job.pool, job.endpoint_id)
    if row is not None and row["status"] in ("active", "starting", "stopping"):
        await stop(job, job.endpoint_id)
        if not row["is_disabled"]:
            await connecting.wake(job.pool, job.computes, job.endpoint_id)
    async with job.finishing():
        pass


async def stop(job: Job, endpoint_id: UUID) -> None:
    await job.computes.stop(str(endpoint_id))
    await endpoints.become(job.pool, endpoint_id, "idle")


async def start_if_possible(job: Job, endpoint_id: UUID) -> None:
    try:
        await connecting.wake(job.pool, job.computes, endpoint_id)
    except Refusal as error:
        log.warning("endpoint.not_resumed", endpoint_id=str(endpoint_id), error=str(error))


async def give_up(db: Db, operation: Operation, reason: str) -> None:
    assert operation.endpoint_id is not None
    await endpoints.broken(db, operation.endpoint_id)
