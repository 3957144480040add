"""The operations of /v1/billing, each of its statuses."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.identity import people
from control.identity.people import Newcomer
from control.processors.port import Processors
from control.quotas.catalogue import id_of
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, bearer
from tests.control.people import EMAIL, person
from tests.control.subscribing import PRO, SUCCESS, TEAM, Kiosk, json_of
from tests.control.subscribing import kiosk as kiosk
from tests.fakes import polar_plans

GOOD: dict[str, Any] = {"tier": "pro", "successURL": SUCCESS}


async def test_a_page_is_what_polar_makes_of_it(kiosk: Kiosk) -> None:
    made = await kiosk.post("checkout", **GOOD)
    page = kiosk.polar.checkouts[made["id"]]
    assert (made["url"], page["product_id"], page["success_url"]) == (page["url"], PRO, SUCCESS)
    assert page["metadata"].keys() == {"orgId", "createdByUserId", "tier"}
    # An agent has no address; Polar asks for one.
    assert page["customer_email"] is None


async def test_an_address_that_polar_refuses_is_left_to_the_buyer(kiosk: Kiosk, pool: Pool) -> None:
    for email, sent in ((EMAIL, EMAIL), ("ada@corp.invalid", None)):
        buyer = await person(kiosk.client, pool, email)
        response = await kiosk.client.post("/v1/billing/checkout", json=GOOD, headers=buyer.headers)
        assert response.status == 200
        page = kiosk.polar.checkouts[(await response.json())["id"]]
        assert page["customer_email"] == sent


async def test_the_same_key_is_the_same_page_and_one_that_failed_is_tried_again(kiosk: Kiosk) -> None:
    async def ask() -> tuple[int, Any]:
        response = await kiosk.client.post(
            "/v1/billing/checkout", json=GOOD, headers={"Idempotency-Key": "k"}
        )
        return response.status, await response.json()

    kiosk.polar.is_down = True
    status, answer = await ask()
    assert (status, answer["code"]) == (502, "polar_error")
    kiosk.polar.is_down = False
    first = await ask()
    assert first[0] == 200
    assert await ask() == first
    assert len(kiosk.polar.checkouts) == 1


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"tier": "pro"}, "successURL"),
        ({"successURL": SUCCESS}, "tier"),
        (GOOD | {"successURL": "javascript:alert(1)"}, "successURL"),
        (GOOD | {"successURL": "https://user@evil.example/"}, "successURL"),
        (GOOD | {"successURL": "https://a.example/\n"}, "successURL"),
        (GOOD | {"successURL": "https://a.example/" + "x" * 2000}, "successURL"),
        (GOOD | {"tier": 1}, "tier"),
        (GOOD | {"price": 1}, "price"),
    ],
)
async def test_what_is_malformed_is_400_and_named(kiosk: Kiosk, body: Any, place: str) -> None:
    answer = await kiosk.post("checkout", 400, **body)
    assert (answer["code"], [one["path"] for one in answer["issues"]]) == ("validation_failed", [[place]])


@pytest.mark.parametrize("tier", ["free", "gone", "enterprise"])
async def test_what_is_not_sold_is_400(kiosk: Kiosk, tier: str) -> None:
    answer = await kiosk.post("checkout", 400, tier=tier, successURL=SUCCESS)
    assert answer["code"] == "unknown_tier"


async def test_an_organization_buys_one_plan(kiosk: Kiosk) -> None:
    made = await kiosk.holds()
    for status in ("active", "past_due"):
        await kiosk.told("updated", polar_plans.change(kiosk.polar, made["id"], status=status))
        await kiosk.clerk.turn()
        # Polar tries the card again: a second one would be paid beside it.
        assert (await kiosk.post("checkout", 409, **GOOD))["code"] == "already_subscribed"
    await kiosk.told("revoked", polar_plans.end(kiosk.polar, made["id"]))
    await kiosk.clerk.turn()
    await kiosk.post("checkout", **GOOD)


async def test_a_smaller_plan_is_not_sold_for_more_than_it_has_room_for(kiosk: Kiosk, pool: Pool) -> None:
    team = next(str(id_of(plan)) for plan in kiosk.api.plans if plan.id == "team")
    await kiosk.client.post("/organizations/default/plan", json={"plan_id": team})
    await pool.execute(
        "INSERT INTO projects (id, organization_id, name, slug, region, created_by)"
        " SELECT gen_random_uuid(), $1, 'p', 'p' || at, 'local', user_id"
        " FROM members, generate_series(1, 101) AS at WHERE organization_id = $1",
        kiosk.organization_id,
    )
    answer = await kiosk.post("checkout", 409, **GOOD)
    assert (answer["code"], "101 projects of 100" in answer["message"]) == ("plan_too_small", True)
    await kiosk.post("checkout", tier="team", successURL=SUCCESS)


async def test_what_is_sold_is_listed(kiosk: Kiosk) -> None:
    answer = await (await kiosk.client.get("/v1/billing/plans")).json()
    assert answer == {"plans": [{"tier": "pro", "productId": PRO}, {"tier": "team", "productId": TEAM}]}


async def test_the_portal_is_the_customers(kiosk: Kiosk) -> None:
    assert (await kiosk.post("portal", 404))["code"] == "no_customer"
    made = await kiosk.holds()
    answer = await kiosk.post("portal", returnURL="https://app.example/billing")
    assert answer["url"].startswith("https://polar.sh/")
    # Nothing has to be sent.
    response = await kiosk.client.post("/v1/billing/portal")
    assert (response.status, list(await response.json())) == (200, ["url"])
    assert (await kiosk.post("portal", 400, returnURL="/billing"))["code"] == "validation_failed"
    # What has ended can still be looked at: there are its invoices.
    await kiosk.told("revoked", polar_plans.end(kiosk.polar, made["id"]))
    await kiosk.clerk.turn()
    await kiosk.post("portal")
    kiosk.polar.is_down = True
    assert (await kiosk.post("portal", 502))["code"] == "polar_error"
    kiosk.polar.is_down = False
    kiosk.polar.customers.clear()
    assert (await kiosk.post("portal", 502))["code"] == "polar_error"


async def test_a_customer_of_two_organizations_opens_the_portal_alone(kiosk: Kiosk, pool: Pool) -> None:
    """It shows what they bought for both, which somebody of one may not change."""
    buyer = await person(kiosk.client, pool)
    page = await kiosk.client.post("/v1/billing/checkout", json=GOOD, headers=buyer.headers)
    assert page.status == 200
    made = polar_plans.subscribe(kiosk.polar, (await page.json())["id"])
    assert made["customer"]["email"] == EMAIL
    await kiosk.told("active", made)
    # For another organization, on a page that somebody else opened and they paid on.
    other = polar_plans.subscribe(kiosk.polar, (await kiosk.post("checkout", **GOOD))["id"], EMAIL)
    await kiosk.told("active", other)
    await kiosk.clerk.turn()
    assert other["customer_id"] == made["customer_id"]
    assert (await kiosk.post("portal", 403))["code"] == "forbidden"
    opened = await kiosk.client.post("/v1/billing/portal", headers=buyer.headers)
    assert opened.status == 200
    # A key for the one organization is none for the other, whoever made it.
    row = await pool.fetchrow(
        "SELECT users.id, organization_id, users.created_at FROM users"
        " JOIN members ON user_id = users.id WHERE email = $1",
        EMAIL,
    )
    assert row is not None
    home = Newcomer(*row)
    refused = await kiosk.client.post("/v1/billing/portal", headers=await bearer(pool, home))
    assert refused.status == 403


async def test_a_key_with_spend_caps_buys_nothing(kiosk: Kiosk, pool: Pool) -> None:
    await pool.execute("INSERT INTO key_caps (key_id, total) SELECT id, 1 FROM api_keys")
    assert (await kiosk.post("checkout", 403, **GOOD))["code"] == "forbidden"


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("editor", 403), ("admin", 200)])
async def test_who_chooses_plans_buys_them(kiosk: Kiosk, pool: Pool, role: str, status: int) -> None:
    one = await people.create(pool, "agent", "One", None)
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, $3)",
        kiosk.organization_id, one.user_id, role,
    )  # fmt: skip
    headers = await bearer(pool, Newcomer(one.user_id, kiosk.organization_id, one.created_at))
    response = await kiosk.client.post("/v1/billing/checkout", json=GOOD, headers=headers)
    assert response.status == status


async def test_where_polar_is_not_configured_it_is_503(client: Client) -> None:
    for path, body in (("checkout", GOOD), ("portal", {})):
        response = await client.post(f"/v1/billing/{path}", json=body)
        assert (response.status, (await response.json())["code"]) == (503, "polar_not_configured")
    response = await client.post("/v1/billing/webhook", data=b"{}")
    assert (response.status, (await response.json())["code"]) == (503, "not_configured")


async def test_a_key_of_the_other_money_buys_nothing(kiosk: Kiosk, pool: Pool, member: Member) -> None:
    headers = await bearer(pool, member.id, mode="live")
    for path, body in (("checkout", GOOD), ("portal", {})):
        response = await kiosk.client.post(f"/v1/billing/{path}", json=body, headers=headers)
        assert (response.status, (await response.json())["code"]) == (503, "polar_not_configured")


async def test_without_a_product_for_them_polar_takes_no_deposits(
    kiosk: Kiosk, ports: Ports, pool: Pool, member: Member, aiohttp_client: AiohttpClient
) -> None:
    processors = Processors(polar=kiosk.api)
    client = await aiohttp_client(
        app.create(pool, replace(ports, processors=processors)), headers=member.headers
    )
    response = await client.post("/wallet/deposit", json={"amount_cents": 1000})
    assert (response.status, (await response.json())["code"]) == (503, "card-payments-not-configured")


EVENT: Mapping[str, Any] = {"id": "s", "customer_id": "c", "product_id": "p", "metadata": {"orgId": "o"}}


@pytest.mark.parametrize(
    ("type", "data", "ignored"),
    [
        ("subscription.created", EVENT, None),
        ("subscription.active", {**EVENT, "customer_id": None, "customer": {"id": "c"}}, None),
        ("subscription.updated", {**EVENT, "id": None}, "missing_ids"),
        ("subscription.canceled", {**EVENT, "product_id": None}, "missing_ids"),
        ("subscription.updated", {**EVENT, "metadata": {}}, "no_org"),
        ("order.paid", {}, None),
        ("customer.created", {"id": "x"}, "customer.created"),
    ],
)
async def test_an_event_is_answered_by_what_it_says(
    kiosk: Kiosk, type: str, data: dict[str, Any], ignored: str | None
) -> None:
    body, headers = kiosk.polar.signed(type, data)
    response = await kiosk.client.post("/v1/billing/webhook", data=body, headers=json_of(headers))
    assert (response.status, await response.json()) == (200, {"ok": True, "ignored": ignored})
    assert await kiosk.pool.fetchval("SELECT type FROM payment_events") == type
    # Whatever it says, the job comes to an end with it.
    await kiosk.clerk.turn()
    assert "waiting" not in {state for state, _ in await kiosk.notes()}


async def test_what_is_not_signed_is_401_and_what_is_no_event_400(kiosk: Kiosk) -> None:
    async def send(body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        response = await kiosk.client.post("/v1/billing/webhook", data=body, headers=json_of(headers))
        return response.status, (await response.json())["code"]

    body, headers = kiosk.polar.signed("subscription.active", {"id": str(uuid4())})
    refused = (401, "bad_signature")
    assert await send(body + b" ", headers) == refused
    assert await send(b"\xff", headers) == refused
    assert await send(body, {}) == refused
    for minutes in (-6, 6):
        at = datetime.now(UTC) + timedelta(minutes=minutes)
        assert await send(*kiosk.polar.signed("subscription.active", {}, at)) == refused
    for kind in ("", "x" * 256, "a\0b"):
        assert await send(*kiosk.polar.signed(kind, {})) == (400, "bad_payload")
    assert await kiosk.notes() == []
