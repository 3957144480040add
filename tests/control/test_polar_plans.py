"""Plans bought at Polar: what Polar says of one, and what becomes of the organization's plan."""

import asyncio
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest

from config.card_payments import Polar
from config.settings import load
from control.invoicing import drafting
from control.invoicing.lines import Month
from control.processors import subscriptions
from control.quotas import choices
from control.quotas.catalogue import id_of
from control.roles.charging import sold_for
from gateway.kit.sql import Pool
from tests.control.conftest import NETWORKS, ports_with
from tests.control.subscribing import PRO, TEAM, Kiosk, json_of
from tests.control.subscribing import kiosk as kiosk
from tests.fakes import polar_plans

LATER = "2100-01-01T00:00:00+00:00"


async def test_a_plan_that_is_bought_holds_and_is_polars_to_change(kiosk: Kiosk) -> None:
    assert await kiosk.shown() == ("free", "free")
    made = await kiosk.holds("pro")
    assert made["metadata"]["orgId"] == str(kiosk.organization_id)
    answer = await (await kiosk.client.get("/v1/billing/subscription")).json()
    assert (answer["tier"], answer["status"], answer["canceledAt"]) == ("pro", "active", None)
    assert answer["polarCustomerId"] == made["customer_id"]
    assert answer["currentPeriodEnd"][:19] == made["current_period_end"][:19]
    assert await kiosk.notes() == [("done", None)]
    told = await kiosk.pool.fetch("SELECT type FROM events")
    assert [row["type"] for row in told] == ["plan.changed"]
    team = next(str(id_of(plan)) for plan in kiosk.api.plans if plan.id == "team")
    response = await kiosk.client.post("/organizations/default/plan", json={"plan_id": team})
    assert (response.status, (await response.json())["code"]) == (409, "plan-paid-at-polar")
    pro = next(str(id_of(plan)) for plan in kiosk.api.plans if plan.id == "pro")
    assert (await kiosk.client.post("/organizations/default/plan", json={"plan_id": pro})).status == 200
    # Another product at Polar's own page.
    await kiosk.told("updated", polar_plans.change(kiosk.polar, made["id"], product_id=TEAM))
    await kiosk.clerk.turn()
    assert await kiosk.shown() == ("team", "active")
    assert await kiosk.plans() == [("pro", True), ("team", True)]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"status": "trialing"}, ("pro", "trialing")),
        ({"cancel_at_period_end": True, "canceled_at": LATER}, ("pro", "active")),  # it is paid for
        ({"status": "past_due"}, ("free", "past_due")),
        ({"status": "unpaid"}, ("free", "past_due")),
        ({"status": "paused"}, ("free", "paused")),
        ({"status": "canceled", "canceled_at": LATER}, ("free", "canceled")),
        ({"status": "incomplete_expired"}, ("free", "canceled")),
    ],
)  # fmt: skip
async def test_the_plan_is_as_polar_has_it(kiosk: Kiosk, changes: Any, shown: tuple[str, str]) -> None:
    made = await kiosk.holds()
    await kiosk.told("updated", polar_plans.change(kiosk.polar, made["id"], **changes))
    await kiosk.clerk.turn()
    assert await kiosk.shown() == shown
    answer = await (await kiosk.client.get("/v1/billing/subscription")).json()
    assert (answer["canceledAt"] is None) == ("canceled_at" not in changes)
    # And back: a card was renewed, say.
    back = {"status": "active", "cancel_at_period_end": False, "canceled_at": None}
    await kiosk.told("uncanceled", polar_plans.change(kiosk.polar, made["id"], **back))
    await kiosk.clerk.turn()
    assert await kiosk.shown() == ("pro", "active")


async def test_what_nobody_has_paid_for_yet_is_no_plan(kiosk: Kiosk) -> None:
    made = await kiosk.holds(status="incomplete")
    assert await kiosk.shown() == ("free", "free")
    # It may come to nothing, so another page is opened.
    await kiosk.bought("team")
    await kiosk.told("active", polar_plans.change(kiosk.polar, made["id"], status="active"))
    await kiosk.clerk.turn()
    assert await kiosk.shown() == ("pro", "active")


async def test_three_deliveries_at_two_addresses_are_one(kiosk: Kiosk) -> None:
    body, headers = kiosk.polar.signed("subscription.active", await kiosk.bought())
    paths = ("/v1/billing/webhook", "/webhooks/polar", "/v1/billing/webhook")
    sent = (kiosk.client.post(path, data=body, headers=json_of(headers)) for path in paths)
    assert [response.status for response in await asyncio.gather(*sent)] == [200] * 3
    assert sum(await asyncio.gather(*(kiosk.clerk.turn() for _ in range(3)))) == 1
    assert await kiosk.plans() == [("pro", True)]


async def test_events_in_any_order_and_at_once_end_as_polar_has_it(kiosk: Kiosk) -> None:
    made = await kiosk.bought()
    ended = polar_plans.end(kiosk.polar, made["id"])
    for kind, data in (("revoked", ended), ("active", made), ("created", made), ("canceled", ended)):
        await kiosk.told(kind, data)
    await asyncio.gather(*(kiosk.clerk.turn() for _ in range(3)))
    assert await kiosk.shown() == ("free", "canceled")
    assert await kiosk.plans() == []


async def test_who_asked_earlier_and_writes_later_changes_nothing(kiosk: Kiosk) -> None:
    made = await kiosk.holds()
    early = await kiosk.api.subscription(made["id"])
    polar_plans.end(kiosk.polar, made["id"])
    late = await kiosk.api.subscription(made["id"])
    assert await subscriptions.settle(kiosk.pool, kiosk.api, late) is None
    assert await subscriptions.settle(kiosk.pool, kiosk.api, early) is None
    assert await kiosk.shown() == ("free", "canceled")


async def test_buying_races_choosing(kiosk: Kiosk) -> None:
    made = await kiosk.bought()
    found = await kiosk.api.subscription(made["id"])
    team = next(str(id_of(plan)) for plan in kiosk.api.plans if plan.id == "team")
    _, response = await asyncio.gather(
        subscriptions.settle(kiosk.pool, kiosk.api, found),
        kiosk.client.post("/organizations/default/plan", json={"plan_id": team}),
    )
    assert response.status in (200, 409)
    # Whoever came first: what Polar is paid for is what holds, and no invoice asks for another.
    assert await kiosk.shown() == ("pro", "active")
    assert (await kiosk.plans())[-1] == ("pro", True)
    assert await kiosk.pool.fetchval("SELECT count(*) FROM organization_plans WHERE ends_at IS NULL") == 1


async def test_a_crash_on_the_way_leaves_nothing_half_done(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kiosk.told("active", await kiosk.bought())

    async def dies(*args: Any) -> None:
        raise RuntimeError("the power went out")

    with monkeypatch.context() as patched:
        patched.setattr(choices, "tell", dies)
        await kiosk.clerk.turn()
    assert await kiosk.notes() == [("waiting", "RuntimeError")]
    assert await kiosk.pool.fetchval("SELECT count(*) FROM polar_subscriptions") == 0
    assert await kiosk.plans() == []
    await kiosk.pool.execute("UPDATE payment_events SET due_at = now()")
    await kiosk.clerk.turn()
    assert (await kiosk.shown(), await kiosk.plans()) == (("pro", "active"), [("pro", True)])


async def test_what_polar_is_paid_for_is_on_no_invoice(kiosk: Kiosk) -> None:
    team = next(plan for plan in kiosk.api.plans if plan.id == "team")
    await kiosk.client.post("/organizations/default/plan", json={"plan_id": str(id_of(team))})
    # Chosen ten days ago, in a month that has just those ten days of it.
    await kiosk.pool.execute("UPDATE organization_plans SET started_at = now() - interval '10 days'")
    await kiosk.holds("pro")
    assert await kiosk.plans() == [("team", False), ("pro", True)]
    bound = await kiosk.pool.fetchval("SELECT started_at FROM organization_plans WHERE tier = 'pro'")
    month = Month(bound.date().replace(day=1))
    settings = ports_with(()).settings
    terms = drafting.Terms(settings.plans, {"test": uuid4()})
    lines = await drafting.lines(kiosk.pool, terms, month, kiosk.organization_id, "test")
    assert [line.description for line in lines] == ["Plan Team"]
    seconds = int((bound - max(month.start, bound - timedelta(days=10))).total_seconds())
    assert abs(lines[0].amount_cents - round(9900 * seconds / month.seconds)) <= 1
    # A month of the bought plan alone has nothing to invoice, and nobody to look at.
    after = Month((month.end + timedelta(days=40)).date().replace(day=1))
    assert await drafting.lines(kiosk.pool, terms, after, kiosk.organization_id, "test") == []
    assert await drafting.candidates(kiosk.pool, after) == []


async def test_a_bought_plan_ends_what_was_to_follow_and_choosing_begins_anew_after_it(kiosk: Kiosk) -> None:
    ids = {plan.id: str(id_of(plan)) for plan in kiosk.api.plans}
    for tier in ("pro", "free"):
        await kiosk.client.post("/organizations/default/plan", json={"plan_id": ids[tier]})
    made = await kiosk.holds("pro")
    assert await kiosk.plans() == [("pro", False), ("pro", True)]
    await kiosk.told("revoked", polar_plans.end(kiosk.polar, made["id"]))
    await kiosk.clerk.turn()
    await kiosk.client.post("/organizations/default/plan", json={"plan_id": ids["team"]})
    assert await kiosk.shown() == ("team", "active")
    # What Polar says of the old one is no news for it.
    await kiosk.told("updated", polar_plans.change(kiosk.polar, made["id"]))
    await kiosk.clerk.turn()
    assert await kiosk.shown() == ("team", "active")


async def test_what_is_paid_for_and_cannot_be_given_is_somebodys_to_look_at(kiosk: Kiosk) -> None:
    await kiosk.holds("pro", product_id=str(uuid4()))
    ((state, note),) = await kiosk.notes()
    assert (state, "no plan in FAREBOX_POLAR__PRODUCTS" in str(note)) == ("failed", True)
    assert await kiosk.shown() == ("free", "free")


async def test_two_that_are_paid_give_the_larger_and_are_told_of(kiosk: Kiosk) -> None:
    # Both pages were open before either was paid.
    pages = [
        await kiosk.post("checkout", tier=tier, successURL="https://a.example") for tier in ("team", "pro")
    ]
    both = [polar_plans.subscribe(kiosk.polar, page["id"]) for page in pages]
    for made in both:
        await kiosk.told("active", made)
        await kiosk.clerk.turn()
    assert [state for state, _ in await kiosk.notes()] == ["done", "failed"]
    assert await kiosk.shown() == ("team", "active")
    await kiosk.told("revoked", polar_plans.end(kiosk.polar, both[0]["id"]))
    await kiosk.clerk.turn()
    assert await kiosk.shown() == ("pro", "active")


async def test_a_subscription_of_nobody_here_is_ignored(kiosk: Kiosk) -> None:
    for metadata in ({}, {"orgId": "nonsense"}, {"orgId": str(uuid4())}):
        await kiosk.holds(metadata=metadata)
    assert [state for state, _ in await kiosk.notes()] == ["ignored"] * 3
    assert await kiosk.pool.fetchval("SELECT count(*) FROM polar_subscriptions") == 0


async def test_news_that_was_lost_is_asked_for(kiosk: Kiosk, pool: Pool) -> None:
    made = await kiosk.holds()
    polar_plans.end(kiosk.polar, made["id"])
    assert await subscriptions.look_again(pool, kiosk.api) == 0
    await pool.execute(
        "UPDATE polar_subscriptions SET current_period_end = now() - interval '2 hours',"
        " looked_at = now() - interval '2 hours'"
    )
    looked = await asyncio.gather(*(subscriptions.look_again(pool, kiosk.api) for _ in range(3)))
    assert sum(looked) == 1
    assert await kiosk.shown() == ("free", "canceled")


async def test_a_token_of_another_account_takes_no_plan_away(kiosk: Kiosk, pool: Pool) -> None:
    made = await kiosk.holds()
    del kiosk.polar.subscriptions[made["id"]]
    await pool.execute(
        "UPDATE polar_subscriptions SET current_period_end = now() - interval '2 hours',"
        " looked_at = now() - interval '2 hours'"
    )
    assert await subscriptions.look_again(pool, kiosk.api) == 1
    assert (await kiosk.shown())[0] == "pro"


async def test_an_organization_that_is_gone_pays_no_more(kiosk: Kiosk, pool: Pool) -> None:
    made = await kiosk.holds()
    await pool.execute("UPDATE organizations SET deleted_at = now() WHERE id = $1", kiosk.organization_id)
    await pool.execute("UPDATE polar_subscriptions SET looked_at = now() - interval '10 minutes'")
    assert await subscriptions.look_again(pool, kiosk.api) == 1
    assert kiosk.polar.subscriptions[made["id"]]["status"] == "canceled"
    assert await pool.fetchval("SELECT status FROM polar_subscriptions") == "canceled"
    assert await subscriptions.look_again(pool, kiosk.api) == 0


@pytest.mark.parametrize(("environment", "is_sold"), [("sandbox", True), ("production", False)])
def test_plans_are_sold_for_the_money_of_the_networks_only(
    kiosk: Kiosk, environment: Literal["sandbox", "production"], is_sold: bool
) -> None:
    # "gone" is in the settings, and in no catalogue.
    assert kiosk.api.products == {"pro": PRO, "team": TEAM}
    networks = tuple(one for one in ports_with(NETWORKS).settings.networks if one.is_test)
    polar = Polar(environment=environment, products={"pro": UUID(PRO)})
    settings = load().model_copy(update={"networks": networks, "polar": polar})
    assert bool(sold_for(settings).products) == is_sold


def test_a_product_is_one_plans_only() -> None:
    with pytest.raises(ValueError, match="one plan's only"):
        Polar(products={"pro": UUID(PRO), "team": UUID(PRO)})
