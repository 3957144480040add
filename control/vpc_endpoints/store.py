from uuid import UUID

from control.vpc_endpoints.models import Assignment, NewVpcEndpoint, VpcEndpoint
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def index(db: Db, organization_id: UUID, region: str | None) -> list[VpcEndpoint]:
    return [VpcEndpoint(**row) for row in await db.fetch(SQL.index, organization_id, region)]


async def find(db: Db, organization_id: UUID, vpc_id: UUID, region: str | None) -> VpcEndpoint | None:
    row = await db.fetchrow(SQL.find, organization_id, vpc_id, region)
    return None if row is None else VpcEndpoint(**row)


async def insert(db: Db, organization_id: UUID, new: NewVpcEndpoint) -> VpcEndpoint | None:
    """None if it is recorded."""
    row = await db.fetchrow(SQL.insert, ids.new(), organization_id, new.region, new.endpoint_id, new.label)
    return None if row is None else VpcEndpoint(**row)


async def count(db: Db, organization_id: UUID) -> int:
    return int(await db.fetchval(SQL.count, organization_id))


async def delete(db: Db, organization_id: UUID, vpc_id: UUID, region: str | None) -> bool:
    return await db.fetchval(SQL.delete, organization_id, vpc_id, region) is not None


async def assignments(db: Db, project_id: UUID, assignment_id: UUID | None = None) -> list[Assignment]:
    return [Assignment(**row) for row in await db.fetch(SQL.assignments, project_id, assignment_id)]


async def assign(db: Db, project_id: UUID, vpc_id: UUID, label: str | None) -> Assignment | None:
    """None if it is assigned."""
    made = await db.fetchval(SQL.assign, ids.new(), project_id, vpc_id, label)
    return None if made is None else (await assignments(db, project_id, made))[0]


async def unassign(
    db: Db, project_id: UUID, *, assignment_id: UUID | None = None, vpc_id: UUID | None = None
) -> bool:
    return await db.fetchval(SQL.unassign, project_id, assignment_id, vpc_id) is not None
