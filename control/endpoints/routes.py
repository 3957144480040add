import asyncio
from uuid import UUID

import structlog
from asyncpg import Record

from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.endpoints.models import Endpoint, EndpointDeleted, EndpointPatch, EndpointStatus
from control.postgres import asking, branches, describing, endpoints, operations, protection
from control.postgres.asking import Asker
from control.postgres.describing import EndpointMade, NewEndpointBody
from control.postgres.endpoints import NewEndpoint
from control.postgres.operations import Action
from control.postgres.refusals import AlreadyRunning, BranchNotReady, BranchProtected, EndpointTaken
from control.postgres.strings import Reach
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.problem import NotFound, Refusal
from gateway.kit.sql import OUTAGES

room = Room("endpoints", "/projects/{project_id}/endpoints")
ON_BRANCH = "/projects/{project_id}/branches/{branch_id}/endpoints"
ONE_ON_BRANCH = f"{ON_BRANCH}/{{endpoint_id}}"
ONE = "/{endpoint_id}"
ASKING_SECONDS = 2

log = structlog.get_logger(__name__)


@room.get(access="projects.read", id="list_project_endpoints")
async def index(call: Call, project_id: RootProjectId) -> Data[list[Endpoint]]:
    """List the endpoints of all branches of a project, oldest first."""
    return Data(data=await listed(call, project_id))


@room.get(at=ON_BRANCH, access="projects.read", fails=[NotFound], id="list_endpoints")
async def index_on_branch(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[list[Endpoint]]:
    """List the endpoints of a branch, oldest first."""
    await require_branch(call, project_id, branch_id)
    return Data(data=await listed(call, project_id, branch_id))


@room.post(
    at=ON_BRANCH,
    access="projects.write",
    fails=[NotFound, EndpointTaken, BranchNotReady],
    id="create_endpoint",
)
async def create(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: NewEndpointBody
) -> Created[Data[EndpointMade]]:
    """Make an endpoint: where clients connect to a branch.

    It sleeps until somebody connects. One of a branch writes; `read_only` ones share its server, with
    sessions that only read unless they say otherwise.
    """
    asker = Asker(call.db, project_id, call.actor.user_id)
    branch = await asker.branch(branch_id)
    asking.require_data(branch)
    await asking.require_kept(asker, branch)
    new = describing.new(body)
    await describing.require_size(call.db, project_id, [new])
    rows = await endpoints.shown(call.db, project_id, branch_id)
    if new.endpoint_type == "read_write" and any(row["endpoint_type"] == "read_write" for row in rows):
        raise EndpointTaken("the branch has an endpoint that writes; make a read_only one")
    endpoint_id = await asking.add_endpoint(asker, branch_id, new)
    (row,) = await endpoints.shown(call.db, project_id, branch_id, endpoint_id)
    return Created(Data(data=describing.as_made(row, describing.reach(call.ports))))


@room.patch(ONE, access="projects.write", fails=[NotFound, BranchProtected], id="update_project_endpoint")
async def update(
    call: Call, project_id: RootProjectId, endpoint_id: UUID, *, body: EndpointPatch
) -> Data[Endpoint]:
    """Change an endpoint.

    Another size restarts it if it runs, which ends what is connected. When it sleeps counts from its next
    start on.
    """
    return Data(data=await changed(call, project_id, None, endpoint_id, body))


@room.patch(
    at=ONE_ON_BRANCH, access="projects.write", fails=[NotFound, BranchProtected], id="update_endpoint"
)
async def update_on_branch(
    call: Call, project_id: RootProjectId, branch_id: UUID, endpoint_id: UUID, *, body: EndpointPatch
) -> Data[Endpoint]:
    """Change an endpoint of a branch. Another size restarts it if it runs."""
    return Data(data=await changed(call, project_id, branch_id, endpoint_id, body))


@room.delete(ONE, access="projects.write", fails=[NotFound, BranchProtected], id="delete_project_endpoint")
async def delete(call: Call, project_id: RootProjectId, endpoint_id: UUID) -> Data[EndpointDeleted]:
    """Delete an endpoint. What is connected is ended; the branch and its data stay."""
    return Data(data=await deleted(call, project_id, None, endpoint_id))


@room.delete(
    at=ONE_ON_BRANCH, access="projects.write", fails=[NotFound, BranchProtected], id="delete_endpoint"
)
async def delete_on_branch(
    call: Call, project_id: RootProjectId, branch_id: UUID, endpoint_id: UUID
) -> Data[EndpointDeleted]:
    """Delete an endpoint of a branch. What is connected is ended; the branch and its data stay."""
    return Data(data=await deleted(call, project_id, branch_id, endpoint_id))


@room.post(
    f"{ONE}/start", access="projects.write", fails=[NotFound, QuotaExceeded], id="start_project_endpoint"
)
async def start(call: Call, project_id: RootProjectId, endpoint_id: UUID) -> Data[EndpointStatus]:
    """Start an endpoint, as connecting to it does. One that was stopped can be woken again."""
    return Data(data=await started(call, await one(call, project_id, None, endpoint_id)))


@room.post(
    at=f"{ONE_ON_BRANCH}/start",
    access="projects.write",
    fails=[NotFound, AlreadyRunning, QuotaExceeded],
    id="start_endpoint",
)
async def start_on_branch(
    call: Call, project_id: RootProjectId, branch_id: UUID, endpoint_id: UUID
) -> Data[EndpointStatus]:
    """Start an endpoint of a branch. One that runs is 400."""
    row = await one(call, project_id, branch_id, endpoint_id)
    if row["status"] in ("active", "starting") and not row["is_disabled"]:
        raise AlreadyRunning("the endpoint runs, or is starting")
    return Data(data=await started(call, row))


@room.post(f"{ONE}/suspend", access="projects.write", fails=[NotFound], id="suspend_project_endpoint")
async def suspend(call: Call, project_id: RootProjectId, endpoint_id: UUID) -> Data[EndpointStatus]:
    """Put an endpoint to sleep. What is connected is ended, and whoever connects next wakes it."""
    row = await one(call, project_id, None, endpoint_id)
    return Data(data=await asked(call, row, "suspend_compute", is_disabled=None))


@room.post(at=f"{ONE_ON_BRANCH}/stop", access="projects.write", fails=[NotFound], id="stop_endpoint")
async def stop(
    call: Call, project_id: RootProjectId, branch_id: UUID, endpoint_id: UUID
) -> Data[EndpointStatus]:
    """Stop an endpoint. What is connected is ended, and nobody wakes it until it is started."""
    row = await one(call, project_id, branch_id, endpoint_id)
    return Data(data=await asked(call, row, "suspend_compute", is_disabled=True))


@room.post(
    f"{ONE}/restart", access="projects.write", fails=[NotFound, QuotaExceeded], id="restart_project_endpoint"
)
async def restart(call: Call, project_id: RootProjectId, endpoint_id: UUID) -> Data[EndpointStatus]:
    """Restart an endpoint. What is connected is ended; one that sleeps goes on sleeping."""
    row = await one(call, project_id, None, endpoint_id)
    await require_room(call)
    operation_id = await enqueue(call, row, "restart_compute")
    return Data(data=as_status(row, operation_id))


@room.get(
    at=f"{ONE_ON_BRANCH}/status",
    access="projects.read",
    fails=[NotFound],
    is_transaction=False,
    id="get_endpoint_status",
)
async def status(
    call: Call, project_id: RootProjectId, branch_id: UUID, endpoint_id: UUID
) -> Data[EndpointStatus]:
    """Say whether an endpoint runs, why it does not sleep, and what keeps it from being woken.

    Nobody is woken by asking.
    """
    row = await one(call, project_id, branch_id, endpoint_id)
    why = {"why_active": await why_active(call, endpoint_id), "why_asleep": await why_asleep(call, row)}
    return Data(data=as_status(row).model_copy(update=why))


async def why_active(call: Call, endpoint_id: UUID) -> list[str] | None:
    """Whoever runs it knows; how it is does not depend on whether they answer."""
    try:
        async with asyncio.timeout(ASKING_SECONDS):
            return list((await call.ports.computes.status(str(endpoint_id))).why_active)
    except (Refusal, *OUTAGES) as error:
        log.info("endpoint.not_asked", endpoint_id=str(endpoint_id), error=repr(error))
        return None


async def why_asleep(call: Call, row: Record) -> str | None:
    if row["is_disabled"]:
        return "somebody stopped this endpoint: start it first"
    if row["status"] == "active":
        return None
    plans = call.ports.settings.plans
    try:
        await headroom.require_unspent(call.db, plans, call.actor.organization_id, "compute_seconds")
    except QuotaExceeded as error:
        return str(error)
    return None


async def require_branch(call: Call, project_id: UUID, branch_id: UUID) -> None:
    if await branches.shown(call.db, project_id, branch_id) is None:
        raise NotFound(f"no branch {branch_id}")


async def one(call: Call, project_id: UUID, branch_id: UUID | None, endpoint_id: UUID) -> Record:
    found = await endpoints.shown(call.db, project_id, branch_id, endpoint_id)
    if not found:
        raise NotFound(f"no endpoint {endpoint_id}")
    return found[0]


async def require_room(call: Call) -> None:
    plans = call.ports.settings.plans
    await headroom.require(call.db, plans, call.actor.organization_id, "compute_seconds")


async def enqueue(call: Call, row: Record, action: Action) -> UUID:
    return await operations.enqueue(
        call.db, action, row["project_id"], row["branch_id"], endpoint_id=row["id"],
        created_by=call.actor.user_id,
    )  # fmt: skip


async def started(call: Call, row: Record) -> EndpointStatus:
    await require_room(call)
    return await asked(call, row, "start_compute", is_disabled=False)


async def asked(call: Call, row: Record, action: Action, *, is_disabled: bool | None) -> EndpointStatus:
    await endpoints.asked(
        call.db, row["id"], "starting" if action == "start_compute" else "stopping", is_disabled=is_disabled
    )
    operation_id = await enqueue(call, row, action)
    return as_status(await one(call, row["project_id"], None, row["id"]), operation_id)


async def changed(
    call: Call, project_id: UUID, branch_id: UUID | None, endpoint_id: UUID, body: EndpointPatch
) -> Endpoint:
    row = await one(call, project_id, branch_id, endpoint_id)
    asker = Asker(call.db, project_id, call.actor.user_id)
    await asker.unprotected(row["branch_id"], "require_approval_for_changes")
    after = {**dict(row), **body.model_dump(exclude_none=True)}
    describing.require_order(after["autoscaling_min"], after["autoscaling_max"])
    await describing.require_size(call.db, project_id, [NewEndpoint(compute_unit=after["compute_unit"])])
    await endpoints.change(call.db, endpoint_id, after)
    if after["compute_unit"] != row["compute_unit"]:
        await enqueue(call, row, "restart_compute")
    return as_endpoint(await one(call, project_id, None, endpoint_id), describing.reach(call.ports))


async def deleted(call: Call, project_id: UUID, branch_id: UUID | None, endpoint_id: UUID) -> EndpointDeleted:
    row = await one(call, project_id, branch_id, endpoint_id)
    if row["is_protected"]:
        where = row["branch_id"]
        await protection.refuse(call.db, project_id, where, call.actor.user_id, "prevent_deletion")
    await endpoints.delete(call.db, endpoint_id)
    return EndpointDeleted(id=endpoint_id, operation_id=await enqueue(call, row, "delete_endpoint"))


async def listed(call: Call, project_id: UUID, branch_id: UUID | None = None) -> list[Endpoint]:
    reach = describing.reach(call.ports)
    return [as_endpoint(row, reach) for row in await endpoints.shown(call.db, project_id, branch_id)]


def as_status(row: Record, operation_id: UUID | None = None) -> EndpointStatus:
    state = "stopped" if row["is_disabled"] else row["status"]
    return EndpointStatus(
        id=row["id"], status=row["status"], compute_status=state, k8s_ready=row["status"] == "active",
        operation_id=operation_id,
    )  # fmt: skip


def as_endpoint(row: Record, reach: Reach) -> Endpoint:
    label = row["label"]
    return Endpoint(
        **{name: row[name] for name in row.keys() & Endpoint.model_fields.keys()},
        tenant_id=row["project_id"],
        current_state="stopped" if row["is_disabled"] else row["status"],
        proxy_host=reach.host_of(label),
        connection_string=reach.uri(label, is_pooled=row["pooler_enabled"]),
        connection_string_direct=reach.uri(label),
        connection_string_pooled=reach.uri(label, is_pooled=True) if row["pooler_enabled"] else None,
    )
