"""Endpoints as rows: where clients connect, and whether a server runs there."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

from asyncpg import Record

from control.metering import meters
from gateway.kit import ids
from gateway.kit.sql import Db, Pool, Statements

SQL = Statements(__file__)

# As in base32: none of them is mistaken for another.
LABEL_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
LABEL_LENGTH = 12

Status: TypeAlias = Literal["idle", "starting", "active", "stopping", "failed"]
Kind: TypeAlias = Literal["read_write", "read_only"]
PoolerMode: TypeAlias = Literal["transaction", "session"]


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    name: str = ""
    """Its label, if there is none."""
    endpoint_type: Kind = "read_write"
    compute_unit: str = "0.25"
    autoscaling_min: int = 1
    autoscaling_max: int = 1
    suspend_timeout_seconds: int = 300
    pooler_enabled: bool = True
    pooler_mode: PoolerMode = "transaction"
    primary_endpoint_id: UUID | None = None


async def insert(db: Db, project_id: UUID, branch_id: UUID, new: NewEndpoint, created_by: UUID) -> UUID:
    endpoint_id, label = ids.new(), new_label()
    await db.execute(
        SQL.insert, endpoint_id, project_id, branch_id, label, new.name or label, new.endpoint_type,
        new.primary_endpoint_id, new.compute_unit, new.autoscaling_min, new.autoscaling_max,
        new.suspend_timeout_seconds, new.pooler_enabled, new.pooler_mode, created_by,
    )  # fmt: skip
    return endpoint_id


def new_label() -> str:
    return "ep-" + "".join(secrets.choice(LABEL_ALPHABET) for _ in range(LABEL_LENGTH))


async def shown(
    db: Db, project_id: UUID, branch_id: UUID | None = None, endpoint_id: UUID | None = None
) -> list[Record]:
    """Those of a project, of one of its branches, or one of them."""
    return await db.fetch(SQL.shown, project_id, branch_id, endpoint_id)


async def serving(db: Db, endpoint_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.serving, endpoint_id)


async def of_branch(db: Db, branch_id: UUID) -> list[UUID]:
    return [row["id"] for row in await db.fetch(SQL.of_branch, branch_id)]


async def ever_of_branch(db: Db, branch_id: UUID) -> list[tuple[UUID, Status]]:
    """Deleted ones, too: their servers may still run."""
    return [(row["id"], row["status"]) for row in await db.fetch(SQL.ever_of_branch, branch_id)]


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
            await meters.started(db, row["project_id"], endpoint_id, Decimal(row["compute_unit"]), at)
        elif status in ("idle", "failed"):
            await meters.stopped(db, endpoint_id, at)
    return True


async def project_of(db: Db, endpoint_id: UUID) -> UUID | None:
    found: UUID | None = await db.fetchval(SQL.project_of, endpoint_id)
    return found


async def states(db: Db) -> dict[Status, int]:
    """How many there are in each."""
    counted = {row["status"]: row["count"] for row in await db.fetch(SQL.states)}
    return {status: counted.get(status, 0) for status in get_args(Status)}


async def connected(db: Db, endpoint_id: UUID, count: int) -> None:
    await db.execute(SQL.connected, endpoint_id, count)


async def asked(
    db: Db, endpoint_id: UUID, status: Literal["starting", "stopping"], *, is_disabled: bool | None = None
) -> None:
    await db.execute(SQL.asked, endpoint_id, status, is_disabled)


async def change(db: Db, endpoint_id: UUID, after: Mapping[str, Any]) -> None:
    await db.execute(
        SQL.change, endpoint_id, after["compute_unit"], after["autoscaling_min"], after["autoscaling_max"],
        after["suspend_timeout_seconds"], after["pooler_enabled"], after["pooler_mode"],
    )  # fmt: skip


async def broken(db: Db, endpoint_id: UUID) -> None:
    await db.execute(SQL.broken, endpoint_id)


async def delete(db: Db, endpoint_id: UUID) -> None:
    await db.execute(SQL.delete, endpoint_id)


async def delete_of_branch(db: Db, branch_id: UUID) -> None:
    await db.execute(SQL.delete_of_branch, branch_id)


async def delete_of_project(db: Db, project_id: UUID) -> None:
    await db.execute(SQL.delete_of_project, project_id)


async def undelete(db: Db, project_id: UUID, deleted_at: datetime) -> None:
    """Those that were deleted with their project."""
    await db.execute(SQL.undelete, project_id, deleted_at)
