"""Long actions as rows: asked for in the transaction that needs them, run by whoever leases them.

A handler may be run again from its beginning at any time, so each of its steps is one that can be repeated.
What it changes in rows it changes in the transaction that finishes the operation, which only the holder of
the lease can: of two that run it, one writes.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from control.computes.provider import ComputeProvider
from gateway.kit import ids
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Db, Pool, Statements

SQL = Statements(__file__)

LEASE = timedelta(seconds=15)

Action: TypeAlias = Literal[
    "create_timeline",
    "create_branch",
    "reset_branch",
    "restore_branch",
    "delete_branch",
    "archive_branch",
    "unarchive_branch",
    "start_compute",
    "suspend_compute",
    "restart_compute",
    "delete_endpoint",
    "delete_project",
    "set_retention",
]


class LeaseLost(Exception):
    """Somebody else runs it by now; nothing of this run may be written."""


@dataclass(frozen=True, slots=True)
class Operation:
    id: UUID
    project_id: UUID
    branch_id: UUID | None
    endpoint_id: UUID | None
    action: Action
    arguments: dict[str, Any]
    failures_count: int
    created_by: UUID | None
    created_at: datetime
    lease_id: UUID


@dataclass(frozen=True, slots=True)
class Job:
    """An operation that is being run, and what with."""

    pool: Pool
    computes: ComputeProvider
    keyring: Keyring
    operation: Operation

    @property
    def branch_id(self) -> UUID:
        assert self.operation.branch_id is not None, "an operation for a branch names it"
        return self.operation.branch_id

    @property
    def endpoint_id(self) -> UUID:
        assert self.operation.endpoint_id is not None, "an operation for an endpoint names it"
        return self.operation.endpoint_id

    def argument(self, name: str) -> UUID:
        return UUID(self.operation.arguments[name])

    @asynccontextmanager
    async def finishing(self) -> AsyncIterator[Db]:
        """The transaction that ends it. Raises ``LeaseLost`` instead of writing what another run writes."""
        async with self.pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(SQL.finish, self.operation.id, self.operation.lease_id) is None:
                raise LeaseLost
            yield connection


async def enqueue(
    db: Db,
    action: Action,
    project_id: UUID,
    branch_id: UUID | None = None,
    *,
    endpoint_id: UUID | None = None,
    arguments: dict[str, Any] | None = None,
    created_by: UUID | None = None,
) -> UUID:
    """In the transaction of what asks for it."""
    operation_id = ids.new()
    await db.execute(
        SQL.enqueue, operation_id, project_id, branch_id, endpoint_id, action, arguments or {}, created_by
    )
    return operation_id


async def lease(pool: Pool, count: int) -> list[Operation]:
    rows = await pool.fetch(SQL.lease, count, ids.new(), LEASE)
    return [Operation(**dict(row)) for row in rows]


async def renew(pool: Pool, operation: Operation) -> bool:
    return await pool.fetchval(SQL.renew, operation.id, operation.lease_id, LEASE) is not None


async def postpone(
    db: Db, operation: Operation, delay: timedelta, *, is_failure: bool, error: str | None = None
) -> bool:
    row = operation.id, operation.lease_id, delay, int(is_failure), error
    return await db.fetchval(SQL.postpone, *row) is not None


async def fail(db: Db, operation: Operation, error: str) -> bool:
    """False when another run has it."""
    return await db.fetchval(SQL.fail, operation.id, operation.lease_id, error) is not None


async def cancel(db: Db, project_id: UUID, branch_id: UUID | None = None) -> None:
    await db.execute(SQL.cancel, project_id, branch_id)


async def page(db: Db, project_id: UUID, limit: int, offset: int) -> tuple[int, list[Record]]:
    total = int(await db.fetchval(SQL.count, project_id))
    return total, await db.fetch(SQL.page, project_id, limit, offset)


async def show(db: Db, project_id: UUID, operation_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.show, project_id, operation_id)


async def count_open(db: Db) -> tuple[int, float]:
    """How many are not done, and the age of the oldest in seconds."""
    row = await db.fetchrow(SQL.open)
    assert row is not None, "it is a row of sums"
    return row["count"], row["age_seconds"]


async def is_open(db: Db, branch_id: UUID, actions: Sequence[Action]) -> bool:
    """Whether one of these is still to be done."""
    return bool(await db.fetchval(SQL.is_open, branch_id, list(actions)))
