"""What servers do by themselves, fall asleep or end, written down: endpoints' states and their seconds."""

from collections.abc import Mapping
from uuid import UUID, uuid5

import structlog

from control.computes.provider import ComputeEvent, ComputeProvider, State
from control.metering import meters
from control.metering.meters import Reading
from control.postgres import endpoints
from control.postgres.endpoints import Status
from gateway.kit.sql import Pool, Statements

SQL = Statements(__file__)

# News of a disk's limit change no endpoint's state.
STATES: Mapping[str, Status] = {
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
    state = STATES.get(event.kind)
    for name in event.endpoints:
        endpoint_id = id_of(name)
        if endpoint_id is not None and state is not None:
            await endpoints.become(pool, endpoint_id, state, event.at)
            await send(pool, endpoint_id, event, *event.moved.get(name, (0, 0)))


async def send(pool: Pool, endpoint_id: UUID, event: ComputeEvent, sent: int, _: int) -> None:
    """What proxies sent to clients counts when the server stops, once however many workers hear of it."""
    project_id = await endpoints.project_of(pool, endpoint_id)
    if sent > 0 and project_id is not None:
        reading_id = uuid5(endpoint_id, f"sent:{event.id}")
        await meters.read(pool, Reading(reading_id, project_id, "egress_bytes", sent, event.at, endpoint_id))


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
