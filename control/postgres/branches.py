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


async def insert(db: Db, new: NewBranch) -> UUID | None:
    """None when the name is taken."""
    found: UUID | None = await db.fetchval(
        SQL.insert, ids.new(), new.project_id, new.name, new.timeline_id, new.parent_branch_id, new.at.lsn,
        new.at.timestamp, new.init_source, new.is_default, new.is_protected, new.expires_at, new.created_by,
        new.state,
    )  # fmt: skip
    return found


async def standing(db: Db, branch_id: UUID) -> Record | None:
    """What an operation needs of it; None when it is deleted."""
    return await db.fetchrow(SQL.standing, branch_id)


async def become(db: Db, branch_id: UUID, state: State) -> None:
    await db.execute(SQL.become, branch_id, state)
