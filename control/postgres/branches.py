"""Branches as rows: names that point to timelines."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from control.computes.provider import HEAD, At
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

State: TypeAlias = Literal["init", "ready", "swapping", "failed"]
InitSource: TypeAlias = Literal["empty", "parent-data", "schema-only"]


@dataclass(frozen=True, slots=True)
class NewBranch:
    project_id: UUID
    name: str
    timeline_id: UUID
    created_by: UUID
    parent_branch_id: UUID | None = None
    at: At = HEAD
    init_source: InitSource = "parent-data"
    is_default: bool = False
    is_protected: bool = False
    expires_at: datetime | None = None
    state: State = "init"
    preserves_branch_id: UUID | None = None
    """The branch whose data before a restore this one keeps."""


async def insert(db: Db, new: NewBranch) -> UUID | None:
    """None when the name is taken."""
    found: UUID | None = await db.fetchval(
        SQL.insert, ids.new(), new.project_id, new.name, new.timeline_id, new.parent_branch_id, new.at.lsn,
        new.at.timestamp, new.init_source, new.is_default, new.is_protected, new.expires_at, new.created_by,
        new.state, new.preserves_branch_id,
    )  # fmt: skip
    return found


async def standing(db: Db, branch_id: UUID) -> Record | None:
    """What an operation needs of it; None when it is deleted."""
    return await db.fetchrow(SQL.standing, branch_id)


async def lock_project(db: Db, project_id: UUID) -> Record | None:
    """Until this transaction ends, nobody else changes a branch of it. None when it is deleted."""
    return await db.fetchrow(SQL.lock_project, project_id)


async def shown(db: Db, project_id: UUID, branch_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.shown, project_id, branch_id, True)  # noqa: FBT003


async def index(db: Db, project_id: UUID, *, include_archived: bool) -> list[Record]:
    return await db.fetch(SQL.shown, project_id, None, include_archived)


async def default_of(db: Db, project_id: UUID) -> UUID | None:
    found: UUID | None = await db.fetchval(SQL.default_of, project_id)
    return found


async def count(db: Db, project_id: UUID) -> int:
    return int(await db.fetchval(SQL.count, project_id))


async def has_children(db: Db, branch_id: UUID) -> bool:
    """Others than the branch that it is a backup of."""
    return bool(await db.fetchval(SQL.has_children, branch_id))


async def become(db: Db, branch_id: UUID, state: State) -> None:
    await db.execute(SQL.become, branch_id, state)


async def rename(db: Db, branch_id: UUID, name: str) -> bool:
    """False when the name is taken."""
    return await db.fetchval(SQL.rename, branch_id, name) is not None


async def expire(db: Db, branch_id: UUID, expires_at: datetime | None) -> None:
    await db.execute(SQL.expire, branch_id, expires_at)


async def archive(db: Db, branch_id: UUID, *, is_archived: bool) -> None:
    await db.execute(SQL.archive, branch_id, is_archived)


async def unpacked(db: Db, branch_id: UUID) -> None:
    """Whoever connects to an archived branch brings it back."""
    await db.execute(SQL.unpacked, branch_id)


async def make_default(db: Db, project_id: UUID, branch_id: UUID) -> None:
    await db.execute(SQL.undefault, project_id)
    await db.execute(SQL.default, branch_id)


async def point(
    db: Db,
    branch_id: UUID,
    timeline_id: UUID,
    parent_branch_id: UUID | None,
    lsn: str | None,
    *,
    is_reset: bool,
) -> None:
    await db.execute(SQL.point, branch_id, timeline_id, parent_branch_id, lsn, is_reset)


async def hand_over(db: Db, branch_id: UUID, to: UUID) -> None:
    await db.execute(SQL.hand_over, branch_id, to)


async def delete(db: Db, branch_id: UUID, user_id: UUID | None) -> None:
    await db.execute(SQL.delete, branch_id, user_id)


async def delete_of_project(db: Db, project_id: UUID, user_id: UUID | None) -> None:
    await db.execute(SQL.delete_of_project, project_id, user_id)


async def detail(db: Db, branch_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.detail, branch_id)


async def undelete(db: Db, project_id: UUID, deleted_at: datetime) -> None:
    """Those that were deleted with their project."""
    await db.execute(SQL.undelete, project_id, deleted_at)
