from uuid import UUID

from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.branch_protection.models import NewProtection, Protection, ProtectionPatch
from control.postgres import protection
from control.postgres.asking import Asker
from control.postgres.protection import Rule
from gateway.kit.problem import NotFound, Refusal

room = Room("branch_protection", "/projects/{project_id}/branch-protection")
OF_BRANCH = "/projects/{project_id}/branches/{branch_id}/protection"


class ProtectionExists(Refusal):
    status, slug, title = 409, "protection-exists", "The branch is protected already"


@room.get(access="projects.read", id="list_branch_protection_rules")
async def index(call: Call, project_id: RootProjectId) -> Data[list[Protection]]:
    """List which branches of a project are protected, and from what."""
    rows = await protection.index(call.db, project_id)
    return Data(data=[Protection(**dict(row)) for row in rows])


@room.get(at=OF_BRANCH, access="projects.read", fails=[NotFound], id="get_branch_protection")
async def show(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[Protection]:
    """Show what a branch is protected from. One that is not is 404."""
    return Data(data=await one(call, project_id, branch_id))


@room.post(
    at=OF_BRANCH,
    access="projects.delete",
    fails=[NotFound, ProtectionExists],
    id="create_branch_protection",
)
async def create(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: NewProtection
) -> Created[Data[Protection]]:
    """Protect a branch. Children that it has from then on get passwords of their own."""
    await Asker(call.db, project_id, call.actor.user_id).branch(branch_id)
    if not await protection.insert(call.db, branch_id, Rule(**body.model_dump())):
        raise ProtectionExists("change the rule that it has")
    return Created(Data(data=await one(call, project_id, branch_id)))


@room.patch(at=OF_BRANCH, access="projects.delete", fails=[NotFound], id="update_branch_protection")
async def update(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: ProtectionPatch
) -> Data[Protection]:
    """Change what a branch is protected from."""
    await one(call, project_id, branch_id)
    await protection.change(call.db, branch_id, **body.model_dump())
    return Data(data=await one(call, project_id, branch_id))


@room.delete(at=OF_BRANCH, access="projects.delete", fails=[NotFound], id="delete_branch_protection")
async def delete(call: Call, project_id: RootProjectId, branch_id: UUID) -> None:
    """Protect a branch no more."""
    await one(call, project_id, branch_id)
    await protection.delete(call.db, branch_id)


async def one(call: Call, project_id: UUID, branch_id: UUID) -> Protection:
    for row in await protection.index(call.db, project_id, branch_id):
        return Protection(**dict(row))
    raise NotFound(f"no protection of a branch {branch_id}")
