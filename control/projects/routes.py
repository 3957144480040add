from uuid import UUID

from control.api import access, permissions
from control.api.answers import Created
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.api.permissions import BUILT_IN, BuiltIn
from control.api.wire_ids import ProjectId, RootOrganizationId, RootProjectId
from control.identity import keys
from control.invoicing import reminding
from control.invoicing.reminding import InvoiceOverdue
from control.postgres import branches, describing, strings
from control.postgres.refusals import BranchNeeded, BranchProtected
from control.postgres.slots import SlotsLeft
from control.projects import keeping, replicating, store
from control.projects.models import (
    ConnectionUri,
    DeletedProject,
    KeptProject,
    NewProject,
    Project,
    ProjectChange,
    ProjectSize,
    Replication,
    ReplicationChange,
    V1Info,
    V1Move,
    V1NewProject,
    V1ProjectChange,
    V1Projects,
    V1ProjectShown,
    sent,
)
from control.projects.saving import (
    ProjectSlugTaken,
    TierLimitExceeded,
    apply,
    deleted,
    elsewhere,
    insert,
    require_organization,
    require_room,
    tell,
)
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.problem import NotFound

room = Room("projects", "/projects")
DELETED = "/organizations/{organization_id}/deleted-projects"
V1 = "/v1/projects"
V1_ONE = "/v1/projects/{project_id}"


@room.get(access="projects.read", fails=[NotFound], id="list_projects")
async def index(
    call: Call,
    *,
    limit: Limit = 20,
    offset: Offset = 0,
    show_service: bool = False,
    organization_id: RootOrganizationId | None = None,
) -> Page[Project]:
    """List the projects of your organization, or of another one of yours, oldest first.

    `show_service` adds nothing: there are no service projects.
    """
    where = call.actor.organization_id
    if organization_id is not None:
        there = await access.elsewhere(call.db, call.actor, organization_id, "projects.read")
        where = there.organization_id
    total, rows = await store.page(call.db, where, limit, offset)
    return page([store.as_root(row) for row in rows], total, limit, offset)


@room.post(access="projects.write", fails=[QuotaExceeded, InvoiceOverdue], id="create_project")
async def create(call: Call, *, body: NewProject) -> Created[Data[Project]]:
    """Create a project in your organization."""
    settings = call.ports.settings
    await reminding.require_paid(call.db, settings.invoicing, call.actor.organization_id)
    await headroom.require(call.db, settings.plans, call.actor.organization_id, "projects")
    await keeping.require_room(call.db, settings, call.actor.organization_id)
    project_id = await insert(call, call.actor.organization_id, body.name, None, body.region)
    if chosen := sent(body, exclude={"region"}):
        await apply(call, project_id, chosen)
    return Created(Data(data=store.as_root(await store.show(call.db, project_id))))


@room.get("/{project_id}", access="projects.read", id="get_project")
async def show(call: Call, project_id: RootProjectId) -> Data[Project]:
    """Show a project."""
    return Data(data=store.as_root(await store.show(call.db, project_id)))


@room.patch("/{project_id}", access="projects.write", id="update_project")
async def update(call: Call, project_id: RootProjectId, *, body: ProjectChange) -> Data[Project]:
    """Change a project. What is not sent, or is null, stays as it is."""
    await apply(call, project_id, sent(body))
    await tell(call, call.actor.organization_id, "project.updated", project_id)
    return Data(data=store.as_root(await store.show(call.db, project_id)))


@room.delete(
    "/{project_id}", access="projects.delete", fails=[BranchNeeded, BranchProtected], id="delete_project"
)
async def delete(call: Call, project_id: RootProjectId) -> Data[DeletedProject]:
    """Delete a project. Its keys are refused from then on, and its slug is free; its data goes after 30 days.

    Branches other than the default one are to be deleted first. Until its data goes it counts for what the
    organization may store.
    """
    return Data(data=await deleted(call, project_id))


@room.get(at=DELETED, access="projects.read", id="list_deleted_projects")
async def index_deleted(call: Call, organization_id: OrganizationId) -> Data[list[KeptProject]]:
    """List deleted projects whose data is kept for now, the newest first. The operator can take them back."""
    return Data(data=await keeping.kept(call.db, organization_id))


@room.delete(
    at=f"{DELETED}/{{deleted_project_id}}",
    access="projects.delete",
    fails=[NotFound],
    id="purge_deleted_project",
)
async def purge(call: Call, organization_id: OrganizationId, deleted_project_id: RootProjectId) -> None:
    """Throw away what is kept of a deleted project, for good. Its room is free within a minute or two."""
    if await keeping.purge(call.db, deleted_project_id, organization_id) is None:
        raise NotFound(f"nothing is kept of a deleted project {deleted_project_id}")


@room.get("/{project_id}/replication", access="projects.read", id="get_replication_settings")
async def replication(call: Call, project_id: RootProjectId) -> Data[Replication]:
    """Show whether a project's log has what logical replication needs. Wakes nothing."""
    return Data(data=await replicating.show(call.db, project_id))


@room.patch(
    "/{project_id}/replication",
    access="projects.write",
    fails=[SlotsLeft],
    is_transaction=False,
    id="update_replication_settings",
)
async def change_replication(
    call: Call, project_id: RootProjectId, *, body: ReplicationChange
) -> Data[Replication]:
    """Turn logical replication on or off. Endpoints that run are restarted for it, one after the other.

    It is not turned off while a logical replication slot is left on any branch: its Postgres would not start.
    """
    return Data(data=await replicating.turn(call, project_id, is_on=body.enabled))


@room.get(
    "/{project_id}/connection_uri", access="projects.write", fails=[NotFound], id="get_project_connection_uri"
)
async def connection_uri(
    call: Call,
    project_id: RootProjectId,
    *,
    branch_id: UUID | None = None,
    endpoint_id: UUID | None = None,
    database_name: str | None = None,
    role_name: str | None = None,
    pooled: bool = False,
) -> ConnectionUri:
    """Say how to connect to a project, with the password if it is known here.

    To its default branch, as its owner and to the oldest database, unless others are named.
    """
    where = branch_id or await branches.default_of(call.db, project_id)
    if where is None:
        raise NotFound("the project has no branch yet: it gets one in a moment")
    uri = await strings.uri(
        call.db, call.ports.keyring, describing.reach(call.ports), project_id, where, endpoint_id=endpoint_id,
        role=role_name, database=database_name, is_pooled=pooled,
    )  # fmt: skip
    return ConnectionUri(uri=uri)


@room.get("/{project_id}/size", access="projects.read", id="get_project_size")
async def size(call: Call, project_id: RootProjectId) -> Data[ProjectSize]:
    """Show how much a project stores, with what is kept to go back to. As measured last; nobody is woken."""
    stored = await store.size(call.db, project_id)
    return Data(data=ProjectSize(project_id=project_id, size_bytes=stored))


@room.get(at=V1, access="projects.read", id="v1_list_projects")
async def index_v1(call: Call) -> V1Projects:
    """List the projects that you can see, newest first.

    A session sees those of all its organizations, and those it was invited to; a key those of its own.
    """
    if call.actor.kind == "session":
        rows = await store.seen_by(call.db, call.actor.user_id)
    else:
        _, found = await store.page(call.db, call.actor.organization_id, 1000, 0)
        rows = found[::-1]
    return V1Projects(projects=[store.as_v1(row, default_tier(call)) for row in rows])


@room.post(
    at=V1,
    access="projects.write",
    fails=[NotFound, ProjectSlugTaken, TierLimitExceeded, InvoiceOverdue],
    id="v1_create_project",
)
async def create_v1(call: Call, *, body: V1NewProject) -> Created[V1ProjectShown]:
    """Create a project, in your own organization unless you name another of yours."""
    where = call.actor.organization_id
    if body.org_id is not None:
        where = (await elsewhere(call, body.org_id)).organization_id
    await require_room(call, where)
    project_id = await insert(call, where, body.name, body.slug, body.region)
    call.about(project_id, organization_id=where)
    return Created(await shown(call, project_id))


@room.get(at=V1_ONE, access="projects.read", id="v1_get_project")
async def show_v1(call: Call, project_id: ProjectId) -> V1ProjectShown:
    """Show a project."""
    return await shown(call, project_id)


@room.patch(at=V1_ONE, access="projects.write", fails=[ProjectSlugTaken], id="v1_update_project")
async def update_v1(call: Call, project_id: ProjectId, *, body: V1ProjectChange) -> V1ProjectShown:
    """Rename a project, or give it another slug."""
    await apply(call, project_id, sent(body))
    await tell(call, call.actor.organization_id, "project.updated", project_id)
    return await shown(call, project_id)


@room.delete(
    at=V1_ONE, access="projects.delete", fails=[BranchNeeded, BranchProtected], id="v1_delete_project"
)
async def delete_v1(call: Call, project_id: ProjectId) -> V1ProjectShown:
    """Delete a project. Its keys are refused from then on, and its slug is free.

    Its data goes after 30 days.
    """
    await deleted(call, project_id)
    return await shown(call, project_id)


@room.post(
    at=f"{V1_ONE}/move",
    access="projects.delete",
    fails=[TierLimitExceeded, InvoiceOverdue],
    id="v1_move_project",
)
async def move(call: Call, project_id: ProjectId, *, body: V1Move) -> V1ProjectShown:
    """Move a project to another organization of yours, where you may create projects.

    Its own members stay; its keys are revoked, because they act for people of the organization it leaves.
    """
    there = await elsewhere(call, body.org_id)
    await require_organization(call, there.organization_id)
    left = call.actor.organization_id
    if left != there.organization_id:
        await require_room(call, there.organization_id)
    await apply(call, project_id, {"organization_id": there.organization_id})
    await keys.revoke_of_project(call.db, left, project_id)
    for one in dict.fromkeys((left, there.organization_id)):
        told = {"from_organization_id": str(left), "to_organization_id": str(there.organization_id)}
        await tell(call, one, "project.moved", project_id, **told)
    return await shown(call, project_id)


@room.get(at=f"{V1_ONE}/info", access="projects.read", id="v1_project_info")
async def info(call: Call, project_id: ProjectId) -> V1Info:
    """Show a project, and who you are to it. Command-line clients ask this first."""
    project = (await shown(call, project_id)).project
    is_key = call.actor.kind == "key"
    held = call.actor.permissions
    covered: BuiltIn = next((one for one in BUILT_IN if permissions.of_project(one) <= held), "viewer")
    return V1Info(
        project=project,
        project_id=project_id,
        authenticated_via="api_key" if is_key else "session",
        api_key_id=call.actor.key_id if is_key else None,
        user_id=call.actor.user_id,
        role=permissions.TO_V1[covered],
    )


async def shown(call: Call, project_id: UUID) -> V1ProjectShown:
    return V1ProjectShown(project=store.as_v1(await store.show(call.db, project_id), default_tier(call)))


def default_tier(call: Call) -> str:
    return call.ports.settings.plans[0].id
