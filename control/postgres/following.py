"""What servers do by themselves, fall asleep or end, written down: endpoints' states and their seconds."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid5

import structlog

from control.computes.provider import ComputeEvent, ComputeProvider, State
from control.metering import meters
from control.metering.meters import Reading
from control.postgres import endpoints, inventory
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
            if event.since is not None:
                await send(pool, endpoint_id, event.since, event.moved.get(name, (0, 0))[0], event.at)
    if event.verifiers:
        await learn(pool, event)


async def learn(pool: Pool, event: ComputeEvent) -> None:
    """Passwords that were changed shortly before it fell asleep. Not by news from before its last run."""
    async with pool.acquire() as db, db.transaction():
        branch_id = await db.fetchval(SQL.asleep_since, UUID(event.timeline), event.at)
        if branch_id is not None:
            await inventory.adopt(db, branch_id, event.verifiers)


async def send(pool: Pool, endpoint_id: UUID, since: datetime, sent: int, at: datetime) -> None:
    """What proxies sent to clients since the server was ready counts, as far as it is not counted yet: once,
    however many workers hear of it, and how often.
    """
    if sent <= 0:
        return
    async with pool.acquire() as db, db.transaction():
        await db.execute(SQL.begin_run, endpoint_id, since)
        run = await db.fetchrow(SQL.lock_run, endpoint_id, since)
        if run is None or run["counted"] >= sent:
            return
        await db.execute(SQL.count_run, endpoint_id, since, sent)
        # The same reading when a run is told of again whose row was pruned.
        reading_id = uuid5(endpoint_id, f"sent:{since.isoformat()}:{sent}")
        more = sent - run["counted"]
        await meters.read(db, Reading(reading_id, run["project_id"], "egress_bytes", more, at, endpoint_id))


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
        if row["is_sent_due"] and status.since is not None:
            await send(pool, row["id"], status.since, status.sent_bytes, datetime.now(UTC))
        if status.state is State.IDLE and row["is_settled"]:
            log.warning("endpoint.found_asleep", endpoint_id=str(row["id"]))
            count += await endpoints.become(pool, row["id"], "idle")
    return count
