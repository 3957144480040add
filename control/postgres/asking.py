"""What is asked of a branch, as far as rows can decide it: refused, or written down as an operation.

Each begins with the project's lock, so that of two requests that exclude one another the second is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from asyncpg import Record

from control.computes.provider import HEAD, At
from control.postgres import branches, endpoints, inventory, operations, protection, timelines
from control.postgres.branches import NewBranch
from control.postgres.endpoints import NewEndpoint
from control.postgres.operations import Action
from control.postgres.protection import Guarded, Rule
from control.postgres.refusals import BranchNameTaken, BranchNeeded, BranchNotReady, NoParent
from control.postgres.timelines import Source
from gateway.kit.crypto import Keyring
from gateway.kit.problem import NotFound, invalid
from gateway.kit.sql import Db

# Of clients' clocks: whoever asks for now gets the head.
SKEW = timedelta(seconds=60)
SWAPS: tuple[Action, ...] = ("reset_branch", "restore_branch")


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom, and where."""

    db: Db
    project_id: UUID
    user_id: UUID

    async def branch(self, branch_id: UUID) -> Record:
        """One of the project's; the project's branches are locked from now on."""
        await branches.lock_project(self.db, self.project_id)
        row = await branches.shown(self.db, self.project_id, branch_id)
        if row is None:
            raise NotFound(f"no branch {branch_id}")
        return row

    async def unprotected(self, branch_id: UUID, guarded: Guarded) -> Record:
        row = await self.branch(branch_id)
        if row["protected"]:
            await protection.refuse(self.db, self.project_id, branch_id, self.user_id, guarded)
        return row

    async def enqueue(self, action: Action, branch_id: UUID, **arguments: str) -> UUID:
        return await operations.enqueue(
            self.db, action, self.project_id, branch_id, arguments=arguments, created_by=self.user_id
        )


@dataclass(frozen=True, slots=True)
class Created:
    branch_id: UUID
    endpoint_ids: list[UUID]
    operation_id: UUID


async def create(
    asker: Asker,
    keyring: Keyring,
    parent_id: UUID,
    new: NewBranch,
    wanted: list[NewEndpoint],
    at: At,
    *,
    is_archived: bool,
) -> Created:
    """``new`` has no timeline yet."""
    db = asker.db
    parent = await asker.branch(parent_id)
    require_data(parent)
    at = within(at, parent["project_created_at"], "body/parent_timestamp")
    timeline_id = await timelines.insert(db, asker.project_id, Source(parent["timeline_id"], at))
    new = replace(new, timeline_id=timeline_id, parent_branch_id=parent_id, at=at)
    branch_id = await branches.insert(db, new)
    if branch_id is None:
        raise BranchNameTaken(f"the project has a branch {new.name}")
    if new.is_protected:
        await protection.insert(db, branch_id, Rule())
    if not parent["protected"]:
        # So that it is known at once how to connect; what is found in its server takes the place of this.
        await inventory.copy(db, keyring, asker.project_id, parent_id, branch_id)
    made = [await add_endpoint(asker, branch_id, one) for one in wanted]
    operation_id = await asker.enqueue("create_branch", branch_id)
    if is_archived:
        await archive(asker, branch_id, is_archived=True)
    return Created(branch_id, made, operation_id)


async def add_endpoint(asker: Asker, branch_id: UUID, new: NewEndpoint) -> UUID:
    if new.endpoint_type == "read_only":
        new = replace(new, primary_endpoint_id=await endpoints.primary_of(asker.db, branch_id))
    return await endpoints.insert(asker.db, asker.project_id, branch_id, new, asker.user_id)


def require_data(branch: Record) -> None:
    if branch["state"] == "failed":
        raise BranchNotReady("the branch could not be made; its operations say why")


def within(at: At, beginning: datetime, pointer: str) -> At:
    """The head for what is now; refuses what never was. What was too long ago the operation finds out."""
    if at.timestamp is None:
        return at
    now = datetime.now(UTC)
    if at.timestamp < beginning:
        raise invalid(pointer, f"is before the project's history, which begins at {beginning.isoformat()}")
    if at.timestamp > now + SKEW:
        raise invalid(pointer, "lies in the future")
    if at.timestamp >= now:
        return HEAD
    return at


async def require_not_swapping(asker: Asker, branch_id: UUID) -> None:
    if await operations.is_open(asker.db, branch_id, SWAPS):
        raise BranchNotReady("the branch is being given other data already")


async def require_kept(asker: Asker, branch: Record) -> None:
    """A backup has its data when the restore that it is of is done."""
    if branch["state"] == "init" and branch["preserves_branch_id"] is not None:
        await require_not_swapping(asker, branch["preserves_branch_id"])


async def reset(asker: Asker, branch_id: UUID) -> UUID:
    """To what its parent is when the operation runs. Returns the operation's id."""
    branch = await asker.unprotected(branch_id, "prevent_reset")
    parent_id = branch["parent_branch_id"]
    parent = None if parent_id is None else await branches.shown(asker.db, asker.project_id, parent_id)
    if parent is None:
        raise NoParent("there is nothing to reset it to")
    if await branches.has_children(asker.db, branch_id):
        raise BranchNeeded("it has children, whose parent's history would be lost: restore it instead")
    require_data(parent)
    await require_not_swapping(asker, branch_id)
    timeline_id = await timelines.insert(asker.db, asker.project_id, Source(parent["timeline_id"]))
    return await asker.enqueue("reset_branch", branch_id, timeline_id=str(timeline_id))


async def restore(
    asker: Asker, branch_id: UUID, source_id: UUID, at: At, preserve_as: str
) -> tuple[UUID, UUID]:
    """The ids of the backup, whose name is taken at once, and of the operation."""
    db = asker.db
    branch = await asker.unprotected(branch_id, "prevent_reset")
    source = branch if source_id == branch_id else await branches.shown(db, asker.project_id, source_id)
    if source is None:
        raise NotFound(f"no branch {source_id}")
    require_data(branch)
    require_data(source)
    await require_not_swapping(asker, branch_id)
    at = within(at, branch["project_created_at"], "body/source/point_in_time/timestamp")
    timeline_id = await timelines.insert(db, asker.project_id, Source(source["timeline_id"], at))
    backup = NewBranch(
        asker.project_id, preserve_as, branch["timeline_id"], asker.user_id, branch["parent_branch_id"],
        init_source=branch["init_source"], preserves_branch_id=branch_id,
    )  # fmt: skip
    backup_id = await branches.insert(db, backup)
    if backup_id is None:
        raise BranchNameTaken(f"the project has a branch {preserve_as}")
    operation_id = await asker.enqueue(
        "restore_branch", branch_id, timeline_id=str(timeline_id), backup_branch_id=str(backup_id),
        source_branch_id=str(source_id),
    )  # fmt: skip
    return backup_id, operation_id


async def delete(asker: Asker, branch_id: UUID) -> UUID:
    branch = await asker.unprotected(branch_id, "prevent_deletion")
    if branch["is_default"]:
        raise BranchNeeded("the default branch cannot be deleted: make another one the default")
    if await endpoints.of_branch(asker.db, branch_id):
        raise BranchNeeded("the branch has endpoints: delete them first")
    if await branches.has_children(asker.db, branch_id):
        raise BranchNeeded("the branch has children: delete them first")
    await require_not_swapping(asker, branch_id)
    await require_kept(asker, branch)
    await branches.delete(asker.db, branch_id, asker.user_id)
    return await asker.enqueue("delete_branch", branch_id)


async def archive(asker: Asker, branch_id: UUID, *, is_archived: bool) -> UUID | None:
    """None when it is so already."""
    branch = await asker.branch(branch_id)
    if branch["archived"] == is_archived:
        return None
    if is_archived:
        if branch["is_default"]:
            raise BranchNeeded("the default branch cannot be archived")
        await asker.unprotected(branch_id, "prevent_deletion")
    await branches.archive(asker.db, branch_id, is_archived=is_archived)
    return await asker.enqueue("archive_branch" if is_archived else "unarchive_branch", branch_id)


async def rename(asker: Asker, branch_id: UUID, name: str) -> None:
    await asker.unprotected(branch_id, "require_approval_for_changes")
    if not await branches.rename(asker.db, branch_id, name):
        raise BranchNameTaken(f"the project has a branch {name}")


async def expire(asker: Asker, branch_id: UUID, expires_at: datetime | None) -> None:
    branch = await asker.branch(branch_id)
    if expires_at is not None:
        if expires_at <= datetime.now(UTC):
            raise invalid("body/expires_at", "has passed")
        if branch["is_default"]:
            raise BranchNeeded("the default branch cannot expire")
        await asker.unprotected(branch_id, "prevent_deletion")
        await require_kept(asker, branch)
    await branches.expire(asker.db, branch_id, expires_at)


async def make_default(asker: Asker, branch_id: UUID) -> None:
    branch = await asker.unprotected(branch_id, "require_approval_for_changes")
    require_data(branch)
    if branch["archived"] or branch["expires_at"] is not None:
        raise BranchNotReady("a branch that is archived, or expires, cannot be the default")
    await branches.make_default(asker.db, asker.project_id, branch_id)


async def delete_project(asker: Asker) -> UUID:
    """All of a project's data, in the transaction that deletes the project."""
    if await branches.lock_project(asker.db, asker.project_id) is None:
        raise NotFound("this project was deleted just now")
    if await branches.count(asker.db, asker.project_id) > 1:
        raise BranchNeeded("the project has branches besides the default one: delete them first")
    branch_id = await branches.default_of(asker.db, asker.project_id)
    if branch_id is not None:
        await asker.unprotected(branch_id, "prevent_deletion")
    await endpoints.delete_of_project(asker.db, asker.project_id)
    await branches.delete_of_project(asker.db, asker.project_id, asker.user_id)
    await operations.cancel(asker.db, asker.project_id)
    return await operations.enqueue(asker.db, "delete_project", asker.project_id, created_by=asker.user_id)


async def settle(asker: Asker, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Have what runs go by other settings of its project."""
    if before["history_retention_seconds"] != after["history_retention_seconds"]:
        await operations.enqueue(asker.db, "set_retention", asker.project_id, created_by=asker.user_id)
    if before["enable_logical_replication"] != after["enable_logical_replication"]:
        for row in await endpoints.shown(asker.db, asker.project_id):
            if row["status"] in ("active", "starting"):
                await operations.enqueue(
                    asker.db, "restart_compute", asker.project_id, row["branch_id"], endpoint_id=row["id"],
                    created_by=asker.user_id,
                )  # fmt: skip
