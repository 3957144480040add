from uuid import UUID

from asyncpg import Record

from control.promotions.models import Budget, Grant
from gateway.kit.sql import Db, Statements
from gateway.ledger import grants

SQL = Statements(__file__)


async def budgets(db: Db) -> list[Budget]:
    return [
        Budget(
            asset_id=row["asset_id"],
            asset_symbol=row["symbol"],
            network=row["network"],
            mode=row["mode"],
            budget_atomic=row["budget"],
            outstanding_atomic=row["outstanding"],
        )
        for row in await grants.budgets(db)
    ]


async def exists(db: Db, organization_id: UUID) -> bool:
    return bool(await db.fetchval(SQL.exists, organization_id))


async def given(db: Db, organization_id: UUID, limit: int, offset: int) -> tuple[list[Grant], int]:
    """The newest first, and how many there are."""
    rows = await db.fetch(SQL.of_organization, organization_id, limit, offset)
    return [grant(row) for row in rows], int(await db.fetchval(SQL.count, organization_id))


def grant(row: Record) -> Grant:
    return Grant(
        id=row["id"],
        organization_id=row["organization_id"],
        asset_id=row["asset_id"],
        reason=row["reason"],
        description=row["description"],
        amount_atomic=row["amount"],
        held_atomic=row["held"],
        spent_atomic=row["spent"],
        expired_atomic=row["expired"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
    )
