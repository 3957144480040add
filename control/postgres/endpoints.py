"""Endpoints as rows: where clients connect, and whether a server runs there."""

import math
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypeAlias
from uuid import UUID

from control.metering import meters
from gateway.kit import ids
from gateway.kit.sql import Db, Pool, Statements

SQL = Statements(__file__)

# As in base32: none of them is mistaken for another.
LABEL_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
LABEL_LENGTH = 12

Status: TypeAlias = Literal["idle", "starting", "active", "stopping", "failed"]


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    name: str = ""
    """Its label, if there is none."""
    endpoint_type: Literal["read_write", "read_only"] = "read_write"
    compute_unit: Decimal = Decimal("0.25")
    autoscaling_min: int = 1
    autoscaling_max: int = 1
    suspend_timeout_seconds: int = 300
    pooler_enabled: bool = True
    pooler_mode: Literal["transaction", "session"] = "transaction"
    primary_endpoint_id: UUID | None = None


async def insert(db: Db, project_id: UUID, branch_id: UUID, new: NewEndpoint, created_by: UUID) -> UUID:
    endpoint_id, label = ids.new(), new_label()
    await db.execute(
        SQL.insert, endpoint_id, project_id, branch_id, label, new.name or label, new.endpoint_type,
        new.primary_endpoint_id, str(new.compute_unit), new.autoscaling_min, new.autoscaling_max,
        new.suspend_timeout_seconds, new.pooler_enabled, new.pooler_mode, created_by,
    )  # fmt: skip
    return endpoint_id


def new_label() -> str:
    return "ep-" + "".join(secrets.choice(LABEL_ALPHABET) for _ in range(LABEL_LENGTH))


async def of_branch(db: Db, branch_id: UUID) -> list[UUID]:
    return [row["id"] for row in await db.fetch(SQL.of_branch, branch_id)]


async def primary_of(db: Db, branch_id: UUID) -> UUID | None:
    """The one that writes, unless somebody stopped it."""
    found: UUID | None = await db.fetchval(SQL.primary_of, branch_id)
    return found


async def become(pool: Pool, endpoint_id: UUID, status: Status, at: datetime | None = None) -> bool:
    """False when it was that already, or something else later. Its seconds are counted accordingly."""
    at = at or datetime.now(UTC)
    async with pool.acquire() as db, db.transaction():
        row = await db.fetchrow(SQL.become, endpoint_id, status, at)
        if row is None:
            return False
        if status == "active":
            await meters.started(db, row["project_id"], endpoint_id, metered(row["compute_unit"]), at)
        elif status in ("idle", "failed"):
            await meters.stopped(db, endpoint_id, at)
    return True


def metered(compute_unit: str) -> int:
    """Whole units are counted, so a part of one counts as one."""
    return math.ceil(Decimal(compute_unit))
