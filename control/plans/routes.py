from datetime import UTC, datetime
from uuid import UUID

from control.api.access import Forbidden
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data
from control.invoicing import drafting, reminding
from control.invoicing.reminding import InvoiceOverdue
from control.plans import rules, store
from control.plans.models import ChangePlan, PlanDetails, PlanWithDetails, QuotaUsage
from control.quotas import choices, headroom
from control.quotas.catalogue import applying, find, id_of
from control.quotas.headroom import PlanTooSmall
from gateway.kit.problem import NotFound, Refusal
from gateway.types import Mode

room = Room("plans", "/plans")
OF_ORGANIZATION = "/organizations/{organization_id}/plan"


class PaidAtPolar(Refusal):
    status, slug, title = 409, "plan-paid-at-polar", "The plan is paid at Polar"


@room.get(access=None, id="list_plans")
async def index(call: Call) -> Data[list[PlanDetails]]:
    """List the plans, in the operator's order. The first is everybody's who chose none."""
    plans = call.ports.settings.plans
    return Data(data=[rules.details(plans, plan) for plan in plans])


@room.get("/{plan_id}", access=None, fails=[NotFound], id="get_plan")
async def show(call: Call, plan_id: UUID) -> Data[PlanDetails]:
    """Show a plan."""
    plan = find(call.ports.settings.plans, plan_id)
    if plan is None:
        raise NotFound(f"no plan {plan_id}")
    return Data(data=rules.details(call.ports.settings.plans, plan))


@room.get(at=OF_ORGANIZATION, access="billing.read", id="get_organization_plan")
async def of_organization(call: Call, organization_id: OrganizationId) -> Data[PlanWithDetails]:
    """Show which plan an organization is on, since when, and what follows it."""
    return Data(data=await shown(call, organization_id))


@room.post(
    at=OF_ORGANIZATION,
    access="billing.write",
    fails=[NotFound, PlanTooSmall, PaidAtPolar, InvoiceOverdue],
    id="change_organization_plan",
)
async def change(call: Call, organization_id: OrganizationId, *, body: ChangePlan) -> Data[PlanWithDetails]:
    """Choose another plan.

    One that costs as much or more holds at once, and the next invoice has the difference for the rest of the
    month, by the second. One that costs less follows when the month is over (UTC), and is refused while more
    is there than its hard quotas have room for; until then nothing is created beyond them. So is one that
    holds at once, where it has less room than the one before. Choosing the plan that holds takes back what
    was to follow. A plan that is paid at Polar is changed there. A key with spend caps chooses none, nor does
    a key of money that plans are not paid in: that is live money, where there is any.
    """
    settings = call.ports.settings
    plans = settings.plans
    plan = find(plans, body.plan_id)
    if plan is None:
        raise NotFound(f"no plan {body.plan_id}")
    require_payer(call, drafting.terms(plans, settings.networks).fees_in)
    if plan.price_cents:
        await reminding.require_paid(call.db, settings.invoicing, organization_id)
    await headroom.lock(call.db, organization_id)
    now = datetime.now(UTC)
    current = await choices.current(call.db, organization_id, now)
    agreed = current["price_cents"] if current is not None else plans[0].price_cents
    holding = current["plan_id"] if current is not None else id_of(plans[0])
    if holding == id_of(plan):
        if current is not None:
            await choices.keep(call.db, current, plan, now)
        return Data(data=await shown(call, organization_id))
    if current is not None and current["subscription_id"] is not None:
        raise PaidAtPolar("change or cancel it there, by the link of POST /v1/billing/portal")
    starts_at = rules.starts_at(now, agreed, plan.price_cents)
    before = applying(plans, holding) if starts_at <= now else None
    await headroom.fit(call.db, organization_id, plan, before)
    await choices.change(call.db, organization_id, current, plan, now, starts_at, user_id=call.actor.user_id)
    return Data(data=await shown(call, organization_id))


def require_payer(call: Call, fees_in: Mode) -> None:
    """Whoever may spend a dollar a day, or test money only, does not owe for a plan."""
    if call.actor.is_capped:
        raise Forbidden("a key with spend caps chooses no plan")
    if call.actor.kind == "key" and call.actor.mode != fees_in:
        raise Forbidden(f"plans are paid in {fees_in} money, and this key is for {call.actor.mode} money")


@room.get(at="/organizations/{organization_id}/quota", access="billing.read", id="get_quota_usage")
async def quota(call: Call, organization_id: OrganizationId) -> Data[QuotaUsage]:
    """Show how much of its quotas an organization uses."""
    plans = call.ports.settings.plans
    plan = await headroom.plan_of(call.db, plans, organization_id)
    counts = await headroom.used(call.db, organization_id)
    return Data(data=rules.usage(organization_id, plans, plan, counts))


async def shown(call: Call, organization_id: UUID) -> PlanWithDetails:
    plans = call.ports.settings.plans
    chosen = await store.shown(call.db, organization_id, plans[0], datetime.now(UTC))
    return PlanWithDetails(
        organization_plan=chosen, plan=rules.details(plans, applying(plans, chosen.plan_id))
    )
