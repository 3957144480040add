from collections.abc import Sequence
from typing import Any
from uuid import UUID

from control.audit_logs.models import AuditLog
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def page(
    db: Db, organization_id: UUID, filters: Sequence[Any], before: UUID | None, limit: int, offset: int
) -> tuple[int, list[AuditLog]]:
    """Newest first. ``total`` is of all pages, whichever of them ``before`` leads to."""
    total = int(await db.fetchval(SQL.count, organization_id, *filters))
    rows = await db.fetch(SQL.page, organization_id, *filters, before, limit, offset)
    return total, [AuditLog(**dict(row)) for row in rows]


async def get(db: Db, organization_id: UUID, log_id: UUID) -> AuditLog | None:
    row = await db.fetchrow(SQL.get, organization_id, log_id)
    return AuditLog(**dict(row)) if row else None
