from collections.abc import Sequence
from uuid import UUID

from control.ip_allow.models import Entry, NewEntry
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def index(db: Db, project_id: UUID) -> list[Entry]:
    return [Entry(**row) for row in await db.fetch(SQL.index, project_id)]


async def lock(db: Db, project_id: UUID) -> None:
    await db.execute(SQL.lock, project_id)


async def count(db: Db, project_id: UUID) -> int:
    return int(await db.fetchval(SQL.count, project_id))


async def insert(db: Db, project_id: UUID, user_id: UUID, entry: NewEntry) -> Entry | None:
    """None if the address is there."""
    row = await db.fetchrow(SQL.insert, ids.new(), project_id, entry.ip_address, entry.description, user_id)
    return None if row is None else Entry(**row)


async def replace(db: Db, project_id: UUID, user_id: UUID, entries: Sequence[NewEntry]) -> None:
    addresses = [one.ip_address for one in entries]
    await db.execute(SQL.keep, project_id, addresses)
    made, told = [ids.new() for _ in entries], [one.description for one in entries]
    await db.execute(SQL.put, project_id, user_id, made, addresses, told)


async def delete(db: Db, project_id: UUID, entry_id: UUID) -> bool:
    return await db.fetchval(SQL.delete, project_id, entry_id) is not None
