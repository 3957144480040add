from datetime import datetime
from uuid import UUID, uuid5

from asyncpg import Record

from config.plans import Plan
from control.invoicing.wording import usd
from control.plans.models import OrganizationPlan
from control.quotas.catalogue import id_of
from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def current(db: Db, organization_id: UUID, at: datetime) -> Record | None:
    """None for an organization that never chose a plan."""
    return await db.fetchrow(SQL.current, organization_id, at)


async def keep(db: Db, current: Record, at: datetime) -> None:
    """Stay on the plan: whatever was to follow it does not."""
    await db.execute(SQL.forget_later, current["organization_id"], at)
    await db.execute(SQL.keep, current["id"])


async def change(
    db: Db,
    organization_id: UUID,
    current: Record | None,
    plan: Plan,
    at: datetime,
    starts_at: datetime,
    user_id: UUID,
) -> None:
    """Let ``plan`` follow from ``starts_at`` on. The organization is locked, and ``current`` is of ``at``."""
    await db.execute(SQL.forget_later, organization_id, at)
    if current is not None:
        await db.execute(SQL.end, current["id"], max(starts_at, current["started_at"]), user_id)
    await db.execute(
        SQL.insert, ids.new(), organization_id, id_of(plan), plan.id, plan.name, plan.price_cents, starts_at
    )


async def shown(db: Db, organization_id: UUID, default: Plan, at: datetime) -> OrganizationPlan:
    row = await current(db, organization_id, at)
    if row is not None:
        told = {name: value for name, value in row.items() if name != "price_cents"}
        return OrganizationPlan(price_monthly=usd(row["price_cents"]), **told)
    since = await db.fetchval(SQL.since, organization_id)
    return OrganizationPlan(
        # Nobody chose it, so there is no row; its id is the same each time.
        id=uuid5(organization_id, "plan"),
        organization_id=organization_id,
        plan_id=id_of(default),
        price_monthly=usd(default.price_cents),
        started_at=since,
        ends_at=None,
        next_plan_id=None,
        cancelled_at=None,
        cancelled_by=None,
        created_at=since,
        updated_at=since,
    )
