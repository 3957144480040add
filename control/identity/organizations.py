"""Organizations as rows, as far as they change. A person's own comes with the account, in ``people``."""

from uuid import UUID

from asyncpg import Record

from control.identity import members
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def create(db: Db, name: str, slug: str, owner_id: UUID) -> UUID | None:
    """Return the new organization's id; None when the slug is taken."""
    organization_id: UUID | None = await db.fetchval(SQL.create, ids.new(), name, slug, owner_id)
    if organization_id is not None:
        await members.add_owner(db, organization_id, owner_id)
    return organization_id


async def may_create(db: Db, user_id: UUID, most: int) -> bool:
    """Whether a user may make another team; it stays so until this transaction ends."""
    await db.execute(SQL.lock_maker, user_id)
    return int(await db.fetchval(SQL.count_made, user_id)) < most


async def rename(db: Db, organization_id: UUID, name: str) -> bool:
    """False for a personal organization, whose name is its owner's."""
    return await db.fetchval(SQL.rename, organization_id, name) is not None


async def delete(db: Db, organization_id: UUID) -> bool:
    """False for a personal one, and while it has projects, publishers, money or unpaid invoices."""
    await db.execute(SQL.lock, organization_id)
    return await db.fetchval(SQL.delete, organization_id) is not None


async def why_kept(db: Db, organization_id: UUID) -> str:
    """What ``delete`` found, in the transaction that it kept the organization in."""
    row = await db.fetchrow(SQL.why_kept, organization_id)
    assert row is not None, "it is there, and locked"
    if row["is_personal"]:
        return "it is personal"
    has = [what for what in ("projects", "publishers", "money") if row[what]]
    has += ["unpaid invoices"] if row["invoices"] else []
    has += ["a payment by card that can still be made"] if row["open_payments"] else []
    has += ["card payments to make up for"] if row["debts"] else []
    return f"it still has {' and '.join(has)}" if has else "it is the platform's own"


async def lock(db: Db, organization_id: UUID) -> bool:
    """Keep it from being deleted until this transaction ends. False when it was."""
    return await db.fetchval(SQL.share, organization_id) is not None


async def suspend(db: Db, organization_id: UUID, *, is_suspended: bool) -> Record | None:
    return await db.fetchrow(SQL.suspend, organization_id, is_suspended)
