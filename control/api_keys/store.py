from uuid import UUID

from control.api import access
from control.api_keys.models import ApiKey, Mode, V1Key, from_row, v1_from_row
from gateway.kit.sql import Db, Statements
from gateway.ledger import caps

SQL = Statements(__file__)


async def count(db: Db, organization_id: UUID) -> int:
    return int(await db.fetchval(SQL.count, organization_id))


async def page(db: Db, organization_id: UUID, limit: int, offset: int) -> list[ApiKey]:
    rows = await db.fetch(SQL.page, organization_id, limit, offset)
    spending = await caps.find(db, [row["id"] for row in rows])
    return [from_row(row, spending) for row in rows]


async def get(db: Db, organization_id: UUID, key_id: UUID) -> ApiKey:
    row = await db.fetchrow(SQL.get, organization_id, key_id)
    assert row is not None, "it was changed in this transaction"
    return from_row(row, await caps.find(db, [key_id]))


async def of_project(db: Db, project_id: UUID, key_id: UUID | None = None) -> list[V1Key]:
    return [v1_from_row(row) for row in await db.fetch(SQL.of_project, project_id, key_id)]


async def mode_of(db: Db, organization_id: UUID, key_id: UUID) -> Mode | None:
    """Whose money a key of the organization spends; None when there is no such key, or no longer."""
    mode: Mode | None = await db.fetchval(SQL.mode_of, organization_id, key_id)
    return mode


async def find_member(db: Db, organization_id: UUID, user_id: UUID) -> tuple[frozenset[str], bool] | None:
    """What the member is granted, and whether it is an agent."""
    row = await db.fetchrow(SQL.find_member, organization_id, user_id)
    if row is None:
        return None
    return access.granted(organization_id, row["role"], row["custom"]), row["kind"] == "agent"
