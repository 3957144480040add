"""How much is stored and written, without waking anything: what the invoice and the API tell."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

import structlog

from control.computes.provider import ComputeProvider
from control.metering import meters
from control.metering.meters import Measured, Reading
from control.postgres import timelines
from gateway.kit.problem import Refusal
from gateway.kit.sql import Pool

BATCH = 100

log = structlog.get_logger(__name__)


async def measure(pool: Pool, computes: ComputeProvider) -> int:
    """Look at what may have grown. Returns how many timelines."""
    count = 0
    for timeline_id in await timelines.due(pool, BATCH):
        try:
            info = await computes.stat(str(timeline_id))
        except Refusal as error:
            log.warning("timeline.not_measured", timeline_id=str(timeline_id), error=repr(error))
            continue
        written = await timelines.measured(pool, info)
        if written > 0:
            now = datetime.now(UTC)
            # The position makes it the same reading when it is sent again.
            reading_id = uuid5(timeline_id, f"written:{info.head_lsn}")
            await meters.read(pool, Reading(reading_id, UUID(info.project), "written_bytes", written, now))
        count += 1
    return count


async def store(pool: Pool, now: datetime | None = None) -> int:
    """What each project keeps counts for the hour that begins, once however many workers ask."""
    now = now or datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    meter: Measured = "storage_byte_hours"
    count = 0
    for row in await timelines.stored(pool):
        reading_id = uuid5(row["project_id"], f"{meter}:{hour.isoformat()}")
        count += await meters.read(pool, Reading(reading_id, row["project_id"], meter, row["bytes"], now))
    return count
