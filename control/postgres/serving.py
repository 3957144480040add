"""Starting and stopping endpoints because somebody asked for it."""

from uuid import UUID

from control.postgres import connecting, endpoints
from control.postgres.operations import Job, Operation
from gateway.kit.sql import Db


async def start(job: Job) -> None:
    await connecting.wake(job.pool, job.computes, job.endpoint_id)
    async with job.finishing():
        pass


async def suspend(job: Job) -> None:
    await stop(job, job.endpoint_id)
    async with job.finishing():
        pass


async def stop(job: Job, endpoint_id: UUID) -> None:
    await job.computes.stop(str(endpoint_id))
    await endpoints.become(job.pool, endpoint_id, "idle")


async def give_up(db: Db, operation: Operation, reason: str) -> None:
    assert operation.endpoint_id is not None
    await db.execute(endpoints.SQL.broken, operation.endpoint_id)
