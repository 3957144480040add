"""Which plan an organization is on: chosen by its people, or bought at Polar.

Whoever changes it has locked the organization.
"""

from datetime import datetime
from uuid import UUID

from asyncpg import Record

from config.plans import Plan
from control.quotas import headroom
from control.quotas.catalogue import id_of
from gateway.kit import ids
from gateway.kit.sql import Db, Statements
from gateway.ledger import events

SQL = Statements(__file__)


async def current(db: Db, organization_id: UUID, at: datetime) -> Record | None:
    """None for an organization that never chose a plan."""
    return await db.fetchrow(SQL.current, organization_id, at)


async def keep(db: Db, current: Record, plan: Plan, at: datetime) -> None:
    """Stay on the plan: whatever was to follow it does not."""
    await db.execute(SQL.forget_later, current["organization_id"], at)
    if await db.fetchval(SQL.keep, current["id"]) is not None:
        # Whoever was told of the plan that was to follow is told that it does not.
        await tell(db, current["organization_id"], plan, at)


async def change(
    db: Db,
    organization_id: UUID,
    current: Record | None,
    plan: Plan,
    at: datetime,
    starts_at: datetime,
    *,
    user_id: UUID | None = None,
    subscription_id: str | None = None,
) -> None:
    """Let ``plan`` follow from ``starts_at`` on. ``current`` is of ``at``; nobody's choice has no user."""
    await db.execute(SQL.forget_later, organization_id, at)
    if current is not None:
        await db.execute(SQL.end, current["id"], max(starts_at, current["started_at"]), user_id)
    await db.execute(
        SQL.insert, ids.new(), organization_id, id_of(plan), plan.id, plan.name, plan.price_cents, starts_at,
        subscription_id,
    )  # fmt: skip
    await headroom.release(db, organization_id)
    await tell(db, organization_id, plan, starts_at)


async def tell(db: Db, organization_id: UUID, plan: Plan, starts_at: datetime) -> None:
    told = {"plan_id": str(id_of(plan)), "plan": plan.id, "starts_at": starts_at.isoformat()}
    await events.emit(db, organization_id, "plan.changed", told)
