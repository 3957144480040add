"""What projects use besides calls: the time that computes run, and what was stored, written and sent.

Whoever runs computes says when one starts, changes its size and stops; the worker counts the seconds of those
that run. Everything else arrives as readings with an id of the sender's own, which count once.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypeAlias
from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import Db, Pool, Statements

SQL = Statements(__file__)

Units: TypeAlias = Decimal | int
Measured: TypeAlias = Literal["storage_byte_hours", "written_bytes", "egress_bytes"]
Meter: TypeAlias = Literal["active_seconds", "storage_byte_hours", "written_bytes", "egress_bytes"]


@dataclass(frozen=True, slots=True)
class Reading:
    """``id`` is the same when it is sent again: made from the project, the meter and the hour, say."""

    id: UUID
    project_id: UUID
    meter: Measured
    quantity: int
    measured_at: datetime
    endpoint_id: UUID | None = None


async def read(db: Db, reading: Reading) -> bool:
    """Count a reading; False when it was counted before."""
    measured = reading.meter, reading.quantity, reading.measured_at
    told = await db.fetchval(SQL.read, reading.id, reading.project_id, reading.endpoint_id, *measured)
    return told is not None


async def started(db: Db, project_id: UUID, endpoint_id: UUID, units: Units, at: datetime) -> bool:
    """``db`` is the transaction that starts it. False when it runs already: then nothing is changed."""
    if await db.fetchval(SQL.begin, endpoint_id, project_id, math.ceil(units), at, milli(units)) is None:
        return False
    await db.execute(SQL.note, ids.new(), project_id, endpoint_id, "started", math.ceil(units), at)
    return True


def milli(units: Units) -> int:
    found = units * 1000
    assert found == int(found), "computes come in steps of a quarter"
    return int(found)


async def resized(db: Db, endpoint_id: UUID, units: Units, at: datetime) -> bool:
    """False when it does not run."""
    running = await db.fetchrow(SQL.running, endpoint_id)
    if running is None:
        return False
    await db.execute(SQL.count_runs, endpoint_id, at)
    await db.execute(SQL.resize, endpoint_id, math.ceil(units), milli(units))
    await db.execute(SQL.note, ids.new(), running["project_id"], endpoint_id, "resized", math.ceil(units), at)
    return True


async def stopped(db: Db, endpoint_id: UUID, at: datetime) -> bool:
    """False when it does not run."""
    running = await db.fetchrow(SQL.running, endpoint_id)
    if running is None:
        return False
    await db.execute(SQL.count_runs, endpoint_id, at)
    await db.execute(SQL.end, endpoint_id)
    units = running["compute_units"]
    await db.execute(SQL.note, ids.new(), running["project_id"], endpoint_id, "stopped", units, at)
    return True


async def advance(pool: Pool, now: datetime | None = None) -> None:
    """Count the seconds of what runs; each is counted once, whoever asks at the same time."""
    await pool.execute(SQL.count_runs, None, now or datetime.now(UTC))
