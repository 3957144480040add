"""Settings of a project that its timelines go by."""

from control.postgres import timelines
from control.postgres.operations import Job, Operation
from gateway.kit.sql import Db


async def set_retention(job: Job) -> None:
    """How long history is kept, from now on."""
    seconds, found = await timelines.retention(job.pool, job.operation.project_id)
    for timeline_id in found:
        await job.computes.set_retention(str(timeline_id), seconds)
    async with job.finishing():
        pass


async def give_up(db: Db, operation: Operation, reason: str) -> None:
    """The rows say what is wanted, and what is made from now on has it."""
