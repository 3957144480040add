"""The plan of an organization as clients of ``/v1`` know it: shown, and bought at Polar."""

from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from control.api.access import Forbidden
from control.api.operation import Call, Room
from control.billing import rules, store
from control.billing.models import (
    NewV1Checkout,
    NewV1Portal,
    V1Checkout,
    V1Plan,
    V1Plans,
    V1Portal,
    V1Subscription,
)
from control.processors import subscriptions
from control.processors.port import Offered, Orders, ProcessorRefused, ProcessorUnavailable
from control.quotas import choices, headroom
from control.quotas.catalogue import applying, id_of
from control.quotas.headroom import PlanTooSmall
from gateway.kit.problem import Refusal


class UnknownTier(Refusal):
    status, slug, title = 400, "unknown-tier", "No plan of this name is sold"


class NoCustomer(Refusal):
    status, slug, title = 404, "no-customer", "The organization has bought nothing at Polar"


class AlreadySubscribed(Refusal):
    status, slug, title = 409, "already-subscribed", "The organization has a plan at Polar"


class PolarFailed(Refusal):
    status, slug, title = 502, "polar-error", "Polar could not be asked"


class PolarNotConfigured(Refusal):
    status, slug, title = 503, "polar-not-configured", "Plans are not sold at Polar here"


async def subscription(call: Call) -> V1Subscription:
    """Show the plan of your organization, and how it stands at Polar where it was bought there."""
    organization_id = call.actor.organization_id
    row = await store.subscription(call.db, organization_id)
    plan = applying(call.ports.settings.plans, row["plan_id"] if row else None)
    polar = await store.at_polar(call.db, organization_id, row["subscription_id"] if row else None)
    return rules.subscribed(
        plan, dict(row) if row else None, dict(polar) if polar else None, datetime.now(UTC)
    )


async def plans(call: Call) -> V1Plans:
    """List the plans that cost something. `GET /plans` has their prices.

    Where plans are bought at Polar, only those that are.
    """
    found = [plan for plan in call.ports.settings.plans if plan.price_cents]
    polar = call.ports.processors.polar
    if polar is not None and polar.products:
        sold = [(plan, polar.products[plan.id]) for plan in found if plan.id in polar.products]
        return V1Plans(plans=[V1Plan(tier=plan.id, product_id=UUID(product)) for plan, product in sold])
    return V1Plans(plans=[V1Plan(tier=plan.id, product_id=id_of(plan)) for plan in found])


async def checkout(call: Call, *, body: NewV1Checkout) -> V1Checkout:
    """Begin to buy a plan at Polar, for your organization.

    Open `url` in a browser and subscribe there. The plan holds when Polar has told us that it is paid,
    usually after some seconds, and Polar invoices it from then on. An organization buys one: another one is
    chosen, or this one ended, by the link of `POST /v1/billing/portal`.
    """
    polar = selling(call)
    plan = next((one for one in polar.plans if one.id == body.tier and one.id in polar.products), None)
    if plan is None:
        known = ", ".join(one.id for one in polar.plans if one.id in polar.products)
        raise UnknownTier(f"{body.tier} is not sold; what is sold: {known}")
    require_uncapped(call)
    organization_id = call.actor.organization_id
    if await subscriptions.is_unended(call.db, organization_id):
        raise AlreadySubscribed(
            "it would pay for two: change the one that it has, with POST /v1/billing/portal"
        )
    current = await choices.current(call.db, organization_id, datetime.now(UTC))
    if current is not None and plan.price_cents < current["price_cents"]:
        await headroom.fit(call.db, organization_id, plan)
    email = await store.email(call.db, call.actor.user_id)
    offered = Offered(
        polar.products[plan.id], organization_id, call.actor.user_id, plan.id, email, body.success_url
    )
    try:
        page_id, url = await polar.offer(offered)
    except (ProcessorUnavailable, ProcessorRefused) as error:
        raise PolarFailed(str(error)) from None
    # Nothing is written before, so that the same Idempotency-Key may try again what Polar did not answer.
    async with call.transaction():
        return V1Checkout(url=url, id=page_id)


async def portal(call: Call, *, body: NewV1Portal | None) -> V1Portal:
    """Open the page of Polar's where your organization changes its plan, or ends it.

    Who bought for several organizations is one customer there. Then only they open it, signed in: it shows
    all that they bought.
    """
    polar = selling(call)
    require_uncapped(call)
    organization_id = call.actor.organization_id
    row = await store.subscription(call.db, organization_id)
    bought = await store.at_polar(call.db, organization_id, row["subscription_id"] if row else None)
    if bought is None:
        raise NoCustomer("begin with POST /v1/billing/checkout")
    is_buyer = call.actor.kind == "session" and bought["created_by"] == call.actor.user_id
    if not is_buyer and await store.is_shared(call.db, bought["customer_id"], organization_id):
        raise Forbidden("whoever bought the plan did so for other organizations too, and opens it signed in")
    return_to = body.return_url if body is not None and body.return_url else f"{call.ports.origin}/"
    try:
        url = await polar.portal(bought["customer_id"], return_to)
    except (ProcessorUnavailable, ProcessorRefused) as error:
        raise PolarFailed(str(error)) from None
    async with call.transaction():
        return V1Portal(url=url)


def selling(call: Call) -> Orders:
    polar = call.ports.processors.polar
    # As with deposits: a test key spends nobody's live money, not even by a page that somebody pays on.
    if polar is None or not polar.products or polar.mode != call.actor.mode:
        raise PolarNotConfigured(
            f"its operator has set no FAREBOX_POLAR__PRODUCTS for {call.actor.mode} money"
        )
    return polar


def require_uncapped(call: Call) -> None:
    if call.actor.is_capped:
        raise Forbidden("a key with spend caps chooses no plan")


def register(room: Room) -> None:
    """``routes`` has the room; these are more of its operations."""
    at = "/v1/billing"
    room.get(at=f"{at}/subscription", access="billing.read", id="v1_get_subscription")(subscription)
    room.get(at=f"{at}/plans", access=None, id="v1_list_plans")(plans)
    bought = partial(room.post, access="billing.write", is_transaction=False, is_once=True)
    bought(
        at=f"{at}/checkout",
        fails=[UnknownTier, AlreadySubscribed, PlanTooSmall, PolarFailed, PolarNotConfigured],
        id="v1_create_checkout",
    )(checkout)
    bought(at=f"{at}/portal", fails=[NoCustomer, PolarFailed, PolarNotConfigured], id="v1_create_portal")(
        portal
    )
