from typing import Annotated
from uuid import UUID

from pydantic import Field

from control.api.answers import Created
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.vpc_endpoints import store
from control.vpc_endpoints.models import Assignment, Named, NewAssignment, NewVpcEndpoint, VpcEndpoint
from gateway.kit.problem import NotFound, Refusal

room = Room("vpc_endpoints", "/organizations/{organization_id}/vpc-endpoints")

OF_ORGANIZATION = "/organizations/{organization_id}/vpc"
BY_REGION = OF_ORGANIZATION + "/region/{region_id}/vpc_endpoints"
OF_PROJECT = "/projects/{project_id}/vpc-endpoints"
OF_PROJECT_TOO = "/projects/{project_id}/vpc_endpoints"

VPC_ENDPOINTS_MAX = 100


class VpcEndpointRecorded(Refusal):
    status, slug, title = 409, "vpc-endpoint-recorded", "The VPC endpoint is recorded already"


class VpcEndpointAssigned(Refusal):
    status, slug, title = 409, "vpc-endpoint-assigned", "The VPC endpoint is assigned already"


class TooManyVpcEndpoints(Refusal):
    status, slug, title = 409, "too-many-vpc-endpoints", "Too many VPC endpoints"


Region = Annotated[Named | None, Field(description="Only those of this region.")]


@room.get(access="organizations.read", id="list_org_vpc_endpoints")
async def index(call: Call, organization_id: OrganizationId, *, region: Region = None) -> list[VpcEndpoint]:
    """List an organization's VPC endpoints, oldest first."""
    return await store.index(call.db, call.actor.organization_id, region)


@room.get(
    at=f"{OF_ORGANIZATION}/vpc_endpoints", access="organizations.read", id="list_org_vpc_endpoints_alias"
)
async def index_too(call: Call, organization_id: OrganizationId) -> list[VpcEndpoint]:
    """List an organization's VPC endpoints, oldest first."""
    return await store.index(call.db, call.actor.organization_id, None)


@room.get(at=BY_REGION, access="organizations.read", id="list_org_vpc_endpoints_by_region")
async def index_of_region(call: Call, organization_id: OrganizationId, region_id: Named) -> list[VpcEndpoint]:
    """List an organization's VPC endpoints in a region, oldest first."""
    return await store.index(call.db, call.actor.organization_id, region_id)


@room.post(
    access="organizations.write",
    fails=[VpcEndpointRecorded, TooManyVpcEndpoints],
    id="create_org_vpc_endpoint",
)
async def create(
    call: Call, organization_id: OrganizationId, *, body: NewVpcEndpoint
) -> Created[Data[VpcEndpoint]]:
    """Record a VPC endpoint of an organization.

    This installation is in nobody's cloud network: an endpoint is written down, for clients that expect to
    find it, and stays `new`. No traffic comes through it.
    """
    made = await store.insert(call.db, call.actor.organization_id, body)
    if made is None:
        raise VpcEndpointRecorded(f"{body.endpoint_id} in {body.region} is recorded")
    if await store.count(call.db, call.actor.organization_id) > VPC_ENDPOINTS_MAX:
        raise TooManyVpcEndpoints(f"an organization records up to {VPC_ENDPOINTS_MAX}")
    return Created(Data(data=made))


@room.get("/{endpoint_id}", access="organizations.read", fails=[NotFound], id="get_org_vpc_endpoint")
async def show(call: Call, organization_id: OrganizationId, endpoint_id: UUID) -> Data[VpcEndpoint]:
    """Show a VPC endpoint."""
    return Data(data=await found(call, endpoint_id, None))


@room.get(
    at=BY_REGION + "/{endpoint_id}",
    access="organizations.read",
    fails=[NotFound],
    id="get_org_vpc_endpoint_by_region",
)
async def show_in_region(
    call: Call, organization_id: OrganizationId, region_id: Named, endpoint_id: UUID
) -> Data[VpcEndpoint]:
    """Show a VPC endpoint of a region."""
    return Data(data=await found(call, endpoint_id, region_id))


@room.delete("/{endpoint_id}", access="organizations.write", fails=[NotFound], id="delete_org_vpc_endpoint")
async def delete(call: Call, organization_id: OrganizationId, endpoint_id: UUID) -> None:
    """Forget a VPC endpoint, and its assignments to projects."""
    await forget(call, endpoint_id, None)


@room.delete(
    at=BY_REGION + "/{endpoint_id}",
    access="organizations.write",
    fails=[NotFound],
    id="delete_org_vpc_endpoint_by_region",
)
async def delete_in_region(
    call: Call, organization_id: OrganizationId, region_id: Named, endpoint_id: UUID
) -> None:
    """Forget a VPC endpoint of a region, and its assignments to projects."""
    await forget(call, endpoint_id, region_id)


@room.get(at=OF_PROJECT, access="projects.read", id="list_project_vpc_endpoints")
async def assignments(call: Call, project_id: RootProjectId) -> list[Assignment]:
    """List the VPC endpoints that are assigned to a project."""
    return await store.assignments(call.db, project_id)


@room.get(at=OF_PROJECT_TOO, access="projects.read", id="list_project_vpc_endpoints_alias")
async def assignments_too(call: Call, project_id: RootProjectId) -> list[Assignment]:
    """List the VPC endpoints that are assigned to a project."""
    return await store.assignments(call.db, project_id)


@room.post(
    at=OF_PROJECT,
    access="projects.write",
    fails=[NotFound, VpcEndpointAssigned],
    id="assign_project_vpc_endpoint",
)
async def assign(call: Call, project_id: RootProjectId, *, body: NewAssignment) -> Created[Data[Assignment]]:
    """Assign one of the organization's VPC endpoints to a project.

    It is a record: connections come through no VPC here. Who may connect is for the project's
    `block_public_connections` and its IP allow list to say.
    """
    return Created(Data(data=await assigned(call, project_id, body.vpc_endpoint_id, body.label)))


@room.post(
    at=OF_PROJECT_TOO + "/{vpc_endpoint_id}",
    access="projects.write",
    fails=[NotFound, VpcEndpointAssigned],
    id="assign_project_vpc_endpoint_by_id",
)
async def assign_by_id(
    call: Call, project_id: RootProjectId, vpc_endpoint_id: UUID
) -> Created[Data[Assignment]]:
    """Assign one of the organization's VPC endpoints to a project."""
    return Created(Data(data=await assigned(call, project_id, vpc_endpoint_id, None)))


@room.delete(
    at=OF_PROJECT + "/{assignment_id}",
    access="projects.write",
    fails=[NotFound],
    id="remove_project_vpc_endpoint",
)
async def unassign(call: Call, project_id: RootProjectId, assignment_id: UUID) -> None:
    """Take a VPC endpoint from a project, by the id of its assignment."""
    if not await store.unassign(call.db, project_id, assignment_id=assignment_id):
        raise NotFound(f"no assignment {assignment_id}")


@room.delete(
    at=OF_PROJECT_TOO + "/{vpc_endpoint_id}",
    access="projects.write",
    fails=[NotFound],
    id="remove_project_vpc_endpoint_by_vpc_id",
)
async def unassign_by_id(call: Call, project_id: RootProjectId, vpc_endpoint_id: UUID) -> None:
    """Take a VPC endpoint from a project, by the endpoint's id."""
    if not await store.unassign(call.db, project_id, vpc_id=vpc_endpoint_id):
        raise NotFound(f"no assignment of {vpc_endpoint_id}")


async def found(call: Call, vpc_id: UUID, region: str | None) -> VpcEndpoint:
    one = await store.find(call.db, call.actor.organization_id, vpc_id, region)
    if one is None:
        raise NotFound(f"no VPC endpoint {vpc_id}")
    return one


async def forget(call: Call, vpc_id: UUID, region: str | None) -> None:
    if not await store.delete(call.db, call.actor.organization_id, vpc_id, region):
        raise NotFound(f"no VPC endpoint {vpc_id}")


async def assigned(call: Call, project_id: UUID, vpc_id: UUID, label: str | None) -> Assignment:
    if await store.find(call.db, call.actor.organization_id, vpc_id, None) is None:
        raise NotFound(f"no VPC endpoint {vpc_id}")
    one = await store.assign(call.db, project_id, vpc_id, label)
    if one is None:
        raise VpcEndpointAssigned("it is assigned to this project")
    return one
