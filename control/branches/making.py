"""From what is sent to what is asked of the library, and back to what is shown."""

import asyncio
from uuid import UUID

from asyncpg import Record

from control.api.operation import Call
from control.branches.models import (
    AtLsn,
    Branch,
    BranchCreated,
    BranchMade,
    BranchRestored,
    FromBranch,
    FromParent,
    NewBranchBody,
    PointInTime,
    RestoreBody,
)
from control.computes.provider import HEAD, At, Resolved
from control.postgres import asking, branches, describing, endpoints
from control.postgres.asking import Asker
from control.postgres.branches import NewBranch
from control.postgres.refusals import BranchNotReady, NoParent
from control.quotas import headroom
from gateway.kit.problem import NotFound, Refusal, invalid

# Of a request: it is a look at files, or one statement.
REACH_SECONDS = 3.0


async def make(call: Call, project_id: UUID, body: NewBranchBody) -> BranchMade:
    asker = asker_of(call, project_id)
    parent_id = body.parent_branch_id or await branches.default_of(call.db, project_id)
    if parent_id is None:
        raise NotFound("the project has no branch yet: it gets one in a moment")
    at = At(lsn=body.parent_lsn and body.parent_lsn.upper(), timestamp=body.parent_timestamp)
    pointer = "body/parent_lsn" if at.lsn else "body/parent_timestamp"
    # Before anything is locked: nobody else waits for whoever keeps the data.
    await require_point(call, project_id, parent_id, at, pointer)
    await require_room(call)
    is_empty = body.schema_only or body.init_source == "schema-only"
    new = NewBranch(
        project_id, body.name, parent_id, call.actor.user_id,
        init_source="schema-only" if is_empty else "parent-data", is_protected=body.protected or False,
    )  # fmt: skip
    asked = [describing.wanted(one.endpoint_type, one.settings) for one in body.endpoints]
    wanted = asked or ([describing.wanted(None, None)] if body.add_endpoint else [])
    describing.require_one_writer(wanted)
    await describing.require_size(call.db, project_id, wanted)
    made = await asking.create(
        asker, call.ports.keyring, parent_id, new, wanted, at, is_archived=body.archived or False
    )
    if body.expires_at is not None:
        await asking.expire(asker, made.branch_id, body.expires_at)
    call.about(made.branch_id)
    reach = describing.reach(call.ports)
    # As they were asked for: made at once, they have no order of their own.
    rows = {row["id"]: row for row in await endpoints.shown(call.db, project_id, made.branch_id)}
    shown = BranchCreated.model_validate(dict(await one(call, project_id, made.branch_id)))
    return BranchMade(
        branch=shown,
        endpoints=[describing.as_made(rows[one_id], reach) for one_id in made.endpoint_ids] or None,
        operation_id=made.operation_id,
    )


async def restore(call: Call, project_id: UUID, branch_id: UUID, body: RestoreBody) -> BranchRestored:
    asker = asker_of(call, project_id)
    branch, source, at = await one(call, project_id, branch_id), branch_id, HEAD
    if isinstance(body.source, FromBranch):
        source = body.source.source_branch_id
    elif isinstance(body.source, FromParent):
        if branch["parent_branch_id"] is None:
            raise NoParent("the branch has no parent to be restored from")
        source = branch["parent_branch_id"]
    if body.source.point_in_time is not None:
        at = point(body.source.point_in_time)
    elif source == branch_id:
        raise invalid("body/source/point_in_time", "is needed to restore a branch from itself")
    field = "lsn" if at.lsn else "timestamp"
    await require_point(call, project_id, source, at, f"body/source/point_in_time/{field}")
    await require_room(call)
    backup_id, operation_id = await asking.restore(asker, branch_id, source, at, body.preserve_under_name)
    return BranchRestored(
        branch=as_branch(await one(call, project_id, branch_id)),
        backup_branch=as_branch(await one(call, project_id, backup_id)),
        operation_id=operation_id,
    )


async def require_point(call: Call, project_id: UUID, branch_id: UUID, at: At, pointer: str) -> None:
    """Refused at once if whoever keeps the data says that it has no such point. If they are away, or the data
    is still being made, the operation finds out.
    """
    if at == HEAD:
        return
    timeline_id = (await one(call, project_id, branch_id))["timeline_id"]
    try:
        async with asyncio.timeout(REACH_SECONDS):
            found = await call.ports.computes.reach(str(timeline_id), at)
    except (Refusal, TimeoutError):
        return
    if found.kind == "future":
        raise invalid(pointer, f"is after the end of the branch's history, {found.lsn}")
    if found.kind == "past" and found.timestamp is not None:
        since = f"{found.lsn}, {found.timestamp.isoformat()}"
        raise invalid(pointer, f"is before the history that is kept, from {since}, on")


def asker_of(call: Call, project_id: UUID) -> Asker:
    return Asker(call.db, project_id, call.actor.user_id)


async def one(call: Call, project_id: UUID, branch_id: UUID) -> Record:
    row = await branches.shown(call.db, project_id, branch_id)
    if row is None:
        raise NotFound(f"no branch {branch_id}")
    return row


async def require_room(call: Call) -> None:
    """For one more, and for what it stores, which is counted by and by."""
    plans, organization_id = call.ports.settings.plans, call.actor.organization_id
    await headroom.require(call.db, plans, organization_id, "branches")
    await headroom.require(call.db, plans, organization_id, "storage_bytes", adding=0)


async def resolved(call: Call, project_id: UUID, branch_id: UUID, at: At) -> Resolved:
    row = await one(call, project_id, branch_id)
    if row["timeline_state"] == "creating" or row["state"] == "failed":
        raise BranchNotReady("the branch has no data yet")
    return await call.ports.computes.resolve(str(row["timeline_id"]), at)


def point(wanted: PointInTime) -> At:
    return At(lsn=wanted.lsn.upper()) if isinstance(wanted, AtLsn) else At(timestamp=wanted.timestamp)


def as_branch(row: Record) -> Branch:
    return Branch.model_validate(dict(row))
