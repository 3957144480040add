from datetime import datetime
from uuid import UUID, uuid5

from config.plans import Plan
from control.invoicing.wording import usd
from control.plans.models import OrganizationPlan
from control.quotas import choices
from control.quotas.catalogue import id_of
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def shown(db: Db, organization_id: UUID, default: Plan, at: datetime) -> OrganizationPlan:
    row = await choices.current(db, organization_id, at)
    if row is not None:
        told = {name: value for name, value in row.items() if name not in ("price_cents", "subscription_id")}
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
