"""Plans bought at Polar. How one stands there is asked for, and the organization's plan follows it.

Locks: the organization, then its subscription, then its plans.
"""

from datetime import UTC, datetime
from uuid import UUID

import structlog

from config.plans import Plan
from control.processors.port import Mismatch, Orders, ProcessorRefused, ProcessorUnavailable, Subscribed
from control.quotas import choices
from control.quotas.catalogue import id_of
from gateway.kit.sql import Db, Pool, Statements

SQL = Statements(__file__)

NO_ORG = "no_org: a subscription of no organization here"
HOLDING = ("trialing", "active")

log = structlog.get_logger(__name__)


async def is_unended(db: Db, organization_id: UUID) -> bool:
    return await db.fetchval(SQL.unended, organization_id) is not None


async def settle(pool: Pool, polar: Orders, found: Subscribed) -> str | None:
    """Bring one subscription, and the plan of its organization, to how it stands.

    A text says why nothing was done. ``Mismatch`` for a product that is no plan here, when nothing is
    written; and for an organization that pays for two plans, when it has the larger one.
    """
    plan = sold(polar, found.product_id)
    async with pool.acquire() as db, db.transaction():
        owner: UUID | None = await db.fetchval(SQL.owner, found.id) or found.organization_id
        organization = None if owner is None else await db.fetchrow(SQL.lock, owner)
        if organization is None:
            return NO_ORG
        if plan is None and found.status in HOLDING:
            raise Mismatch(f"product {found.product_id} is paid for, and no plan in FAREBOX_POLAR__PRODUCTS")
        is_news = await db.fetchval(
            SQL.keep, found.id, organization["id"], found.created_by, found.customer_id, found.product_id,
            plan.id if plan else None, found.status, found.current_period_end, found.canceled_at,
            found.modified_at,
        )  # fmt: skip
        if is_news is None:
            return None
        held = [] if organization["deleted_at"] else await holding(db, polar, organization["id"])
        await follow(db, polar, organization["id"], held)
    if len(held) > 1:
        raise Mismatch(
            f"organization {organization['id']} pays Polar for {len(held)} plans: end and refund one"
        )
    return None


def sold(polar: Orders, product_id: str) -> Plan | None:
    return next((plan for plan in polar.plans if polar.products.get(plan.id) == product_id), None)


async def holding(db: Db, polar: Orders, organization_id: UUID) -> list[tuple[Plan, str]]:
    """The plans that it pays for, each with its subscription."""
    known = {plan.id: plan for plan in polar.plans}
    rows = await db.fetch(SQL.holding, organization_id)
    return [(known[row["tier"]], row["id"]) for row in rows if row["tier"] in known]


async def follow(db: Db, polar: Orders, organization_id: UUID, held: list[tuple[Plan, str]]) -> None:
    """Put an organization on the largest plan that it pays Polar for, or off one that it paid for there."""
    now = datetime.now(UTC)
    current = await choices.current(db, organization_id, now)
    plan, subscription_id = max(held, key=lambda one: one[0].price_cents, default=(polar.plans[0], None))
    standing = (current["plan_id"], current["subscription_id"]) if current is not None else (None, None)
    # What it chose by itself, and pays with our invoices, is not Polar's to end.
    if standing == (id_of(plan), subscription_id) or (subscription_id is None and standing[1] is None):
        return
    await choices.change(
        db, organization_id, current, plan, now, now.replace(microsecond=0), subscription_id=subscription_id
    )


async def look_again(pool: Pool, polar: Orders) -> int:
    """Ask how those stand that should have been told of; end those of organizations that are gone."""
    rows = await pool.fetch(SQL.doubtful)
    for row in rows:
        try:
            found = await (polar.revoke if row["is_gone"] else polar.subscription)(row["id"])
            await settle(pool, polar, found)
        except (ProcessorRefused, ProcessorUnavailable, Mismatch) as error:
            # Another account's token, say: nobody loses a plan for it, and the others are asked for as well.
            log.error("polar.subscription_in_doubt", id=row["id"], reason=str(error))
    return len(rows)
