from uuid import UUID

from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.api.wire_ids import RootProjectId
from control.operations.models import Operation
from control.postgres import operations
from gateway.kit.problem import NotFound

room = Room("operations", "/projects/{project_id}/operations")


@room.get(access="projects.read", id="list_operations")
async def index(
    call: Call, project_id: RootProjectId, *, limit: Limit = 100, offset: Offset = 0
) -> Page[Operation]:
    """List what was asked of a project's branches and endpoints, newest first."""
    total, rows = await operations.page(call.db, project_id, limit, offset)
    return page([Operation(**dict(row)) for row in rows], total, limit, offset)


@room.get("/{operation_id}", access="projects.read", fails=[NotFound], id="get_operation")
async def show(call: Call, project_id: RootProjectId, operation_id: UUID) -> Data[Operation]:
    """Show an operation: whether it is done, and why not."""
    row = await operations.show(call.db, project_id, operation_id)
    if row is None:
        raise NotFound(f"no operation {operation_id}")
    return Data(data=Operation(**dict(row)))
