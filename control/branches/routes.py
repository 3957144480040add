from uuid import UUID

from pydantic import AwareDatetime

from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.branches import making
from control.branches.models import (
    ArchivedBody,
    Branch,
    BranchArchived,
    BranchCount,
    BranchDeleted,
    BranchDetail,
    BranchExpiration,
    BranchMade,
    BranchRestored,
    ConnectionString,
    DefaultBranch,
    ExpirationBody,
    Lsn,
    LsnByTimestamp,
    NewBranchBody,
    RenameBranchBody,
    ResetBody,
    RestoreBody,
    TimestampByLsn,
)
from control.computes.provider import At, Unsupported
from control.postgres import asking, branches, describing, strings
from control.postgres.refusals import (
    BranchNameTaken,
    BranchNeeded,
    BranchNotReady,
    BranchProtected,
    EndpointTaken,
    NoParent,
)
from gateway.identify import QuotaExceeded
from gateway.kit.problem import NotFound

room = Room("branches", "/projects/{project_id}/branches")
ONE = "/{branch_id}"


@room.get(access="projects.read", id="list_branches")
async def index(
    call: Call, project_id: RootProjectId, *, include_archived: bool = False
) -> Data[list[Branch]]:
    """List a project's branches, oldest first.

    Archived ones are left out unless `include_archived` asks for them.
    """
    rows = await branches.index(call.db, project_id, include_archived=include_archived)
    return Data(data=[making.as_branch(row) for row in rows])


@room.post(
    access="projects.write",
    fails=[NotFound, BranchNameTaken, BranchNotReady, EndpointTaken, QuotaExceeded],
    id="create_branch",
)
async def create(call: Call, project_id: RootProjectId, *, body: NewBranchBody) -> Created[Data[BranchMade]]:
    """Create a branch: what another one is now, or was at a position or a moment.

    It answers at once; the data is there when the operation is finished, and whoever connects before waits
    for it. A point before the history that is kept, or after its end, is refused. Passwords are the parent's,
    and new ones if that is protected. `schema_only` has the tables and none of their rows.
    """
    return Created(Data(data=await making.make(call, project_id, body)))


@room.get("/count", access="projects.read", id="get_branch_count")
async def count(call: Call, project_id: RootProjectId) -> Data[BranchCount]:
    """Count a project's branches, archived ones included."""
    return Data(data=BranchCount(count=await branches.count(call.db, project_id)))


@room.get(ONE, access="projects.read", fails=[NotFound], id="get_branch")
async def show(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[Branch]:
    """Show a branch."""
    return Data(data=making.as_branch(await making.one(call, project_id, branch_id)))


@room.delete(
    ONE,
    access="projects.write",
    fails=[NotFound, BranchNeeded, BranchProtected, BranchNotReady],
    id="delete_branch",
)
async def delete(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[BranchDeleted]:
    """Delete a branch and its data.

    Not the default one, and not one with endpoints or children: delete those first. A backup that was kept
    by a restore can be deleted although the restored branch counts as its child.
    """
    operation_id = await asking.delete(making.asker_of(call, project_id), branch_id)
    return Data(data=BranchDeleted(id=branch_id, operation_id=operation_id))


@room.patch(
    ONE, access="projects.write", fails=[NotFound, BranchNameTaken, BranchProtected], id="rename_branch"
)
async def rename(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: RenameBranchBody
) -> Data[Branch]:
    """Rename a branch. Clients go on connecting as before."""
    await asking.rename(making.asker_of(call, project_id), branch_id, body.name)
    return Data(data=making.as_branch(await making.one(call, project_id, branch_id)))


@room.patch(
    f"{ONE}/archived",
    access="projects.write",
    fails=[NotFound, BranchNeeded, BranchProtected],
    id="set_branch_archived",
)
async def archive(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: ArchivedBody
) -> Data[BranchArchived]:
    """Archive a branch, or bring it back.

    An archived one is compressed, keeps its history, and can be branched. Whoever connects to it brings it
    back, and waits some seconds.
    """
    operation_id = await asking.archive(
        making.asker_of(call, project_id), branch_id, is_archived=body.archived
    )
    return Data(data=BranchArchived(id=branch_id, archived=body.archived, operation_id=operation_id))


@room.get(f"{ONE}/connection-string", access="projects.write", fails=[NotFound], id="get_connection_string")
async def connection_string(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, pooled: bool = False, role: str | None = None
) -> Data[ConnectionString]:
    """Say how to connect to a branch, with the password if it is known here.

    As its owner, unless another `role` is named. A password that was set by SQL is not known.
    """
    await making.one(call, project_id, branch_id)
    text = await strings.uri(
        call.db, call.ports.keyring, describing.reach(call.ports), project_id, branch_id, role=role,
        is_pooled=pooled,
    )  # fmt: skip
    return Data(data=ConnectionString(connection_string=text))


@room.get(f"{ONE}/details", access="projects.read", fails=[NotFound], id="get_branch_details")
async def details(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[BranchDetail]:
    """Show where a branch's data comes from and how far it is written."""
    await making.one(call, project_id, branch_id)
    row = await branches.detail(call.db, branch_id)
    assert row is not None, "it was shown just now"
    return Data(data=BranchDetail(**dict(row), disk_consistent_lsn=row["last_record_lsn"]))


@room.patch(
    f"{ONE}/expiration",
    access="projects.write",
    fails=[NotFound, BranchNeeded, BranchProtected, BranchNotReady],
    id="set_branch_expiration",
)
async def expire(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: ExpirationBody
) -> Data[BranchExpiration]:
    """Have a branch deleted at a time, with its endpoints, or keep it.

    One that has children by then goes when the last of them has gone.
    """
    await asking.expire(making.asker_of(call, project_id), branch_id, body.expires_at)
    return Data(data=BranchExpiration(id=branch_id, expires_at=body.expires_at))


@room.get(
    f"{ONE}/lsn_by_timestamp",
    access="projects.read",
    fails=[NotFound, BranchNotReady, *describing.ASKED],
    is_transaction=False,
    id="get_lsn_by_timestamp",
)
async def lsn_by_timestamp(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, timestamp: AwareDatetime
) -> Data[LsnByTimestamp]:
    """Say which position of its log a branch was at: that of the first commit after the moment.

    A branch at this position has what was committed up to the moment. Nothing is woken for it.
    """
    found = await making.resolved(call, project_id, branch_id, At(timestamp=timestamp))
    if found.kind == "nodata" or found.lsn is None:
        raise BranchNotReady("nothing was committed by then")
    return Data(data=LsnByTimestamp(lsn=found.lsn, kind=found.kind))


@room.get(
    f"{ONE}/timestamp_by_lsn",
    access="projects.read",
    fails=[NotFound, BranchNotReady, *describing.ASKED],
    is_transaction=False,
    id="get_timestamp_by_lsn",
)
async def timestamp_by_lsn(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, lsn: Lsn
) -> Data[TimestampByLsn]:
    """Say when the last commit before a position was made. Nothing is woken for it."""
    found = await making.resolved(call, project_id, branch_id, At(lsn=lsn.upper()))
    if found.kind == "nodata" or found.timestamp is None:
        raise BranchNotReady("nothing was committed by then")
    return Data(data=TimestampByLsn(timestamp=found.timestamp, kind=found.kind))


@room.post(
    f"{ONE}/reset",
    access="projects.write",
    fails=[NotFound, BranchNeeded, BranchProtected, BranchNotReady, NoParent, Unsupported],
    id="reset_branch",
)
async def reset(call: Call, project_id: RootProjectId, branch_id: UUID, *, body: ResetBody) -> Data[Branch]:
    """Give a branch the data that its parent has now.

    Connection strings stay, what is connected is ended, roles and passwords are the parent's, and what the
    branch had is gone. The operation `reset_branch` does it; until it is finished the branch has what it had.
    """
    await asking.reset(making.asker_of(call, project_id), branch_id)
    return Data(data=making.as_branch(await making.one(call, project_id, branch_id)))


@room.post(
    f"{ONE}/restore",
    access="projects.write",
    fails=[
        NotFound, BranchNameTaken, BranchProtected, BranchNotReady, NoParent, QuotaExceeded, Unsupported,
    ],
    id="restore_branch",
)  # fmt: skip
async def restore(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: RestoreBody
) -> Data[BranchRestored]:
    """Give a branch the data of an earlier moment, of its parent, or of another branch.

    What it had is kept: a new branch has it, without an endpoint until you make one, and is the parent from
    then on, also of the children. Connection strings stay and what is connected is ended. Replication slots
    are not taken along. Roles are those of that moment.
    """
    return Data(data=await making.restore(call, project_id, branch_id, body))


@room.post(
    f"{ONE}/set-default",
    access="projects.write",
    fails=[NotFound, BranchProtected, BranchNotReady],
    id="set_default_branch",
)
async def set_default(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[DefaultBranch]:
    """Make a branch the default one of its project. The one before it can be deleted then."""
    await asking.make_default(making.asker_of(call, project_id), branch_id)
    return Data(data=DefaultBranch(id=branch_id))


@room.post(
    f"{ONE}/set_as_default",
    access="projects.write",
    fails=[NotFound, BranchProtected, BranchNotReady],
    id="set_default_branch_alias",
)
async def set_as_default(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[DefaultBranch]:
    """Make a branch the default one: the same as `set-default`."""
    return await set_default(call, project_id, branch_id)
