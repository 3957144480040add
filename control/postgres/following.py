"""What servers do by themselves, fall asleep or end, written down: endpoints' states and their seconds."""

from uuid import UUID

import structlog

from control.computes.provider import ComputeEvent, ComputeProvider, State
from control.postgres import endpoints
from control.postgres.endpoints import Status
from gateway.kit.sql import Pool, Statements

SQL = Statements(__file__)

STATES: dict[str, Status] = {
    "ready": "active",
    "suspended": "idle",
    "stopped": "idle",
    "exited": "idle",
    "failed": "failed",
}

log = structlog.get_logger(__name__)


async def follow(pool: Pool, computes: ComputeProvider) -> None:
    """Until cancelled."""
    async for event in computes.events():
        await note(pool, event)


async def note(pool: Pool, event: ComputeEvent) -> None:
    for name in event.endpoints:
        endpoint_id = id_of(name)
        if endpoint_id is not None:
            await endpoints.become(pool, endpoint_id, STATES[event.kind], event.at)


def id_of(name: str) -> UUID | None:
    """None for visits of our own, which are nobody's endpoint."""
    try:
        return UUID(name)
    except ValueError:
        return None


async def compare(pool: Pool, computes: ComputeProvider) -> int:
    """Ask after each that is written down as running, as news may be lost. Wakes nothing. Returns how many
    were found asleep.
    """
    count = 0
    for row in await pool.fetch(SQL.running):
        status = await computes.status(str(row["id"]))
        await endpoints.connected(pool, row["id"], status.sessions)
        if status.state is State.IDLE and row["is_settled"]:
            log.warning("endpoint.found_asleep", endpoint_id=str(row["id"]))
            count += await endpoints.become(pool, row["id"], "idle")
    return count
