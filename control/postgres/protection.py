"""What may not be done with a branch, and whose roles may all the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from control.postgres.refusals import BranchProtected
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

Guarded: TypeAlias = Literal["prevent_deletion", "prevent_reset", "require_approval_for_changes"]


@dataclass(frozen=True, slots=True)
class Rule:
    prevent_deletion: bool = True
    prevent_reset: bool = True
    require_approval_for_changes: bool = False
    allowed_bypass_roles: Sequence[str] = ()


async def refuse(db: Db, project_id: UUID, branch_id: UUID, user_id: UUID, guarded: Guarded) -> None:
    """Raises ``BranchProtected`` where a rule forbids it to this person."""
    rule = next(iter(await index(db, project_id, branch_id)), None)
    if rule is None or not rule[guarded]:
        return
    if rule["allowed_bypass_roles"]:
        role = await db.fetchval(SQL.role_of, project_id, user_id)
        if role in rule["allowed_bypass_roles"]:
            return
    raise BranchProtected(f"the branch's protection says {guarded}: take that back first")


async def index(db: Db, project_id: UUID, branch_id: UUID | None = None) -> list[Record]:
    return await db.fetch(SQL.index, project_id, branch_id)


async def insert(db: Db, branch_id: UUID, rule: Rule) -> bool:
    """False when it has one."""
    found = await db.fetchval(
        SQL.insert, ids.new(), branch_id, rule.prevent_deletion, rule.prevent_reset,
        rule.require_approval_for_changes, list(rule.allowed_bypass_roles),
    )  # fmt: skip
    return found is not None


async def change(
    db: Db,
    branch_id: UUID,
    *,
    prevent_deletion: bool | None,
    prevent_reset: bool | None,
    require_approval_for_changes: bool | None,
    allowed_bypass_roles: list[str] | None,
) -> bool:
    """What is None stays. False when it has no rule."""
    changes = prevent_deletion, prevent_reset, require_approval_for_changes, allowed_bypass_roles
    return await db.fetchval(SQL.change, branch_id, *changes) is not None


async def delete(db: Db, branch_id: UUID) -> bool:
    return await db.fetchval(SQL.delete, branch_id) is not None
