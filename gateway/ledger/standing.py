"""Whether a balance is what a publisher asks its callers to keep, for publishers who do."""

from datetime import timedelta
from uuid import UUID

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def is_good(
    db: Db, publisher_id: UUID, organization_id: UUID, asset_id: UUID, minimum: int, grace_minutes: int
) -> bool:
    """True also for a balance that is too low, but not for longer than the grace period."""
    grace = timedelta(minutes=grace_minutes)
    values = (publisher_id, organization_id, asset_id, minimum, grace)
    return bool(await db.fetchval(SQL.standing, *values))
