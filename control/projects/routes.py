from collections.abc import Mapping
from typing import Any
from uuid import UUID

from control.api import access, permissions, wire_ids
from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.api.permissions import BUILT_IN, BuiltIn
from control.api.wire_ids import ProjectId, RootOrganizationId, RootProjectId
from control.identity import keys, organizations
from control.postgres import asking, branches, describing, founding, strings
from control.postgres.asking import Asker
from control.postgres.refusals import BranchNeeded, BranchProtected
from control.projects import store
from control.projects.models import (
    ConnectionUri,
    DeletedProject,
    NewProject,
    Project,
    ProjectChange,
    ProjectSize,
    V1Info,
    V1Move,
    V1NewProject,
    V1ProjectChange,
    V1Projects,
    V1ProjectShown,
    sent,
)
from control.projects.store import SlugTaken
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.ledger import events
from gateway.ledger.event_types import EventType

room = Room("projects", "/projects")
V1 = "/v1/projects"
V1_ONE = "/v1/projects/{project_id}"


class ProjectSlugTaken(Refusal):
    status, slug, title = 409, "project-slug-taken", "Project slug already exists"


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


class TierLimitExceeded(Refusal):
    status, slug, title = 402, "tier-limit-exceeded", "The plan has no room for it"


@room.post(access="projects.write", fails=[QuotaExceeded], id="create_project")
async def create(call: Call, *, body: NewProject) -> Created[Data[Project]]:
    """Create a project in your organization."""
    await headroom.require(call.db, call.ports.settings.plans, call.actor.organization_id, "projects")
    project_id = await insert(call, call.actor.organization_id, body.name, None, body.region)
    settings = sent(body, exclude={"region"})
    if settings:
        await apply(call, project_id, settings)
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
    """Delete a project and its data. Its keys are refused from then on, and its slug is free.

    Branches other than the default one are to be deleted first.
    """
    return Data(data=await deleted(call, project_id))


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
    fails=[NotFound, ProjectSlugTaken, TierLimitExceeded],
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
    """Delete a project and its data. Its keys are refused from then on, and its slug is free."""
    await deleted(call, project_id)
    return await shown(call, project_id)


@room.post(at=f"{V1_ONE}/move", access="projects.delete", fails=[TierLimitExceeded], id="v1_move_project")
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


async def elsewhere(call: Call, organization_id: UUID) -> access.Actor:
    """Named in a body of ``/v1``, and told in the same spelling if there is none."""
    named = wire_ids.spell(wire_ids.ORGANIZATION, organization_id)
    return await access.elsewhere(call.db, call.actor, organization_id, "projects.write", named)


async def insert(call: Call, organization_id: UUID, name: str, slug: str | None, region: str) -> UUID:
    await require_organization(call, organization_id)
    try:
        made = await store.insert(call.db, organization_id, name, slug, region, call.actor.user_id)
    except SlugTaken:
        raise ProjectSlugTaken(f"the slug {slug} is taken") from None
    project_id: UUID = made["id"]
    await founding.found(call.db, call.ports.keyring, project_id, call.actor.user_id)
    await tell(call, organization_id, "project.created", project_id, name=name, slug=made["slug"])
    return project_id


async def require_room(call: Call, organization_id: UUID) -> None:
    """As clients of ``/v1`` know it."""
    try:
        await headroom.require(call.db, call.ports.settings.plans, organization_id, "projects")
    except QuotaExceeded as error:
        raise TierLimitExceeded(str(error)) from None


async def tell(call: Call, organization_id: UUID, type: EventType, project_id: UUID, **more: str) -> None:
    await events.emit(call.db, organization_id, type, more, project_id)


async def require_organization(call: Call, organization_id: UUID) -> None:
    """It stays until this transaction ends: nobody deletes an organization under a new project."""
    if not await organizations.lock(call.db, organization_id):
        raise NotFound("this organization was deleted just now")


async def apply(call: Call, project_id: UUID, changes: Mapping[str, Any]) -> None:
    before = await store.lock(call.db, project_id)
    if before is None:
        raise NotFound(f"no project {project_id}")
    after = {**before, **changes}
    if before["enable_logical_replication"] and not after["enable_logical_replication"]:
        raise invalid("body/enable_logical_replication", "stays on once it is on")
    if after["compute_unit_min"] > after["compute_unit_max"]:
        raise invalid("body/compute_unit_min", "is more than compute_unit_max")
    await asking.settle(Asker(call.db, project_id, call.actor.user_id), before, after)
    try:
        await store.update(call.db, project_id, after)
    except SlugTaken:
        raise ProjectSlugTaken(f"the slug {after['slug']} is taken") from None


async def deleted(call: Call, project_id: UUID) -> DeletedProject:
    if await store.has_branches(call.db, project_id):
        raise BranchNeeded("the project has branches besides the default one: delete them first")
    await asking.delete_project(Asker(call.db, project_id, call.actor.user_id))
    gone = await store.delete(call.db, project_id, call.actor.user_id)
    if gone is None:
        raise NotFound(f"no project {project_id}")
    await tell(call, call.actor.organization_id, "project.deleted", project_id)
    return gone


async def shown(call: Call, project_id: UUID) -> V1ProjectShown:
    return V1ProjectShown(project=store.as_v1(await store.show(call.db, project_id), default_tier(call)))


def default_tier(call: Call) -> str:
    return call.ports.settings.plans[0].id
