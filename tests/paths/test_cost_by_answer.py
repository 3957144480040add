"""Stories of calls whose cost is known from their answer: told by the caller, checked in the ledger."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from gateway.ledger import holds
from tests.paths.conftest import DOLLAR, Account, Farebox

CENT = DOLLAR // 100
BY_USE: dict[str, Any] = {
    "price_per_call": None,
    "billing_model": "pay_per_use",
    "upstream_cost_response_path": "usage.cost",
    "reserve_max_charge": "0.50",
    "unresolved_fallback_charge": "0.05",
}


@pytest.fixture
async def account(farebox: Farebox) -> Account:
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    return account


@pytest.mark.parametrize(
    ("body", "content_type", "more", "cost"),
    [
        ('{"usage": {"cost": 0.0123}}', "application/json", {}, 12_300),
        ('{"usage": {"cost": "0.0123"}}', "application/json", {}, 12_300),
        ('{"usage": {"cost": 1.2e-05}}', "application/json", {}, 12),
        ('{"usage": {"cost": 0.00000001}}', "application/json", {}, 1),  # rounded up to the atomic unit
        ('{"usage": {"cost": 0.1}}', "application/json", {"markup_multiplier": "1.25"}, 125_000),
        ('{"usage": {"cost": 0}}', "application/json", {}, 0),
        ('{"usage": {"cost": 0.7}}', "application/json", {}, 500_000),  # never above the hold
        ('{"usage": {}}', "application/json", {}, 50_000),
        ('{"usage": {"cost": -1}}', "application/json", {}, 50_000),
        ('{"usage": {"cost": 1e999999999}}', "application/json", {}, 50_000),
        ('{"usage": {"cost": true}}', "application/json", {}, 50_000),
        ('{"usage": {"cost": NaN}}', "application/json", {}, 50_000),
        ("[" * 100_000, "application/json", {}, 50_000),
        ("not json", "text/plain", {}, 50_000),
        ("", "application/json", {}, 50_000),
        ('{"usage": {"cost": 0.01}, "x": "' + "y" * (1 << 20) + '"}', "application/json", {}, 50_000),
        # The last event that says it counts.
        (
            'data: {"usage": {"cost": 0.01}}\n\ndata: {"usage": {"cost": 0.02}}\n\ndata: [DONE]\n\n',
            "text/event-stream",
            {},
            20_000,
        ),
    ],
)
async def test_a_call_costs_what_its_answer_says(
    farebox: Farebox, account: Account, body: str, content_type: str, more: dict[str, Any], cost: int
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body.encode(), content_type=content_type)

    farebox.upstream.handler = answer
    shop = await farebox.publish(**BY_USE, **more)
    headers = {**account.headers, "Accept-Encoding": "gzip", "Range": "bytes=0-3"}
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=headers)
    assert (reply.status, reply.text) == (200, body)
    assert reply.headers["Cache-Control"] == "private"
    assert await farebox.spent(account, DOLLAR) == cost
    (used,) = await farebox.pool.fetch("SELECT outcome, cost FROM usage_events WHERE status = 200")
    assert tuple(used) == ("charged" if cost else "free", cost)
    (seen,) = farebox.upstream.seen
    assert seen.headers["Accept-Encoding"] == "identity"
    assert "Range" not in seen.headers


async def test_the_end_of_the_answer_waits_for_the_charge(farebox: Farebox, account: Account) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await response.write(b'data: {"usage": {"cost": "0.0%d"}}\n\n' % number)
            await asyncio.sleep(0.01)
        return response

    farebox.upstream.handler = answer
    shop = await farebox.publish(**BY_USE)
    async with farebox.session.get(f"{shop}/x", headers=account.headers) as response:
        await response.read()
    # No waiting: who has the whole answer has paid for it.
    assert await farebox.balance(account) == DOLLAR - 2 * CENT
    assert await farebox.pool.fetchval("SELECT count(*) FROM holds WHERE state = 'open'") == 0


async def test_events_are_passed_on_at_once_though_their_cost_comes_last(
    farebox: Farebox, account: Account
) -> None:
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: {}\n\n")
        await go_on.wait()
        await response.write(b'data: {"usage": {"cost": 0.03}}\n\n')
        return response

    farebox.upstream.handler = answer
    shop = await farebox.publish(**BY_USE)
    async with farebox.session.get(f"{shop}/x", headers=account.headers) as response:
        assert await response.content.readuntil(b"\n\n") == b"data: {}\n\n"
        # All that the call may cost is held meanwhile, and nothing is charged yet.
        assert await farebox.balance(account) == DOLLAR // 2
        go_on.set()
        assert b"0.03" in await response.content.read()
    assert await farebox.spent(account, DOLLAR) == 3 * CENT


async def test_hanging_up_before_the_cost_is_said_is_no_discount(farebox: Farebox, account: Account) -> None:
    hung_up = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: {}\n\n")
        await hung_up.wait()
        for _ in range(20):
            await response.write(b"data: {}\n\n")
            await asyncio.sleep(0.02)
        await response.write(b'data: {"usage": {"cost": 0.3}}\n\n')
        return response

    farebox.upstream.handler = answer
    shop = await farebox.publish(**BY_USE)
    async with farebox.session.get(f"{shop}/x", headers=account.headers) as response:
        await response.content.readuntil(b"\n\n")
        response.close()
    hung_up.set()
    assert await farebox.spent(account, DOLLAR) == 30 * CENT


async def test_an_upstream_that_breaks_off_is_paid_the_fallback(farebox: Farebox, account: Account) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.abort()
        return response

    farebox.upstream.handler = answer
    shop = await farebox.publish(**BY_USE)
    with pytest.raises(Exception, match=r"payload|disconnected|closed"):
        await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert await farebox.spent(account, DOLLAR) == 5 * CENT


async def test_an_answer_that_failed_is_free(farebox: Farebox, account: Account) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"usage": {"cost": 0.1}}, status=500)

    farebox.upstream.handler = answer
    shop = await farebox.publish(**BY_USE)
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 500
    assert await farebox.spent(account, DOLLAR) == 0


async def test_what_is_not_known_beforehand_is_not_sold_for_an_x402_payment(farebox: Farebox) -> None:
    shop = await farebox.publish(**BY_USE, endpoints=[{"method": "GET", "path": "/models", "price": "0.01"}])
    reply = await farebox.agent.ask("GET", f"{shop}/x")
    assert (reply.status, reply.offers, reply.json["accepts"]) == (402, [], [])
    assert "not for an x402 payment" in reply.json["detail"]
    # An endpoint with a price of its own is sold like any other.
    paid = await farebox.pay("GET", f"{shop}/models")
    assert (paid.status, paid.payment["success"]) == (200, True)
    elsewhere = await farebox.agent.ask("GET", f"{shop}/models")
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(elsewhere)}
    refused = await farebox.agent.ask("GET", f"{shop}/x", headers=payment)
    assert (refused.status, refused.json["error"]) == (402, "unsupported_scheme")


async def test_a_call_without_a_bound_is_not_sold(farebox: Farebox, account: Account) -> None:
    shop = await farebox.publish(price_per_call=None, billing_model="pay_per_use")
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert (reply.status, reply.json["code"]) == (403, "method-not-for-sale")
    assert "reserve_max_charge" in reply.json["detail"]


async def test_sixty_calls_at_once_reserve_what_they_may_cost_and_pay_what_they_did(
    farebox: Farebox, account: Account
) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.json_response({"usage": {"cost": "0.01"}})

    farebox.upstream.handler = answer
    shop = await farebox.publish(**{**BY_USE, "reserve_max_charge": "0.10"})
    asked = (farebox.agent.ask("GET", f"{shop}/x", headers=account.headers) for _ in range(60))
    statuses = [reply.status for reply in await asyncio.gather(*asked)]
    assert statuses.count(200) + statuses.count(402) == 60
    assert statuses.count(200) >= 10
    assert await farebox.spent(account, DOLLAR) == statuses.count(200) * CENT


async def test_a_process_that_dies_meanwhile_charges_nothing(farebox: Farebox, account: Account) -> None:
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"usage": ')
        await go_on.wait()
        await response.write(b'{"cost": "0.2"}}')
        return response

    farebox.upstream.handler = answer
    shop = await farebox.publish(**BY_USE)
    async with farebox.session.get(f"{shop}/x", headers=account.headers) as response:
        await response.content.readany()
        # What the sweeper does to the hold of a process that is gone.
        await farebox.pool.execute("UPDATE holds SET expires_at = now() - interval '1 second'")
        assert await holds.void_expired(farebox.pool) == 1
        go_on.set()
        # The answer that is not paid for any more is not given out whole.
        with pytest.raises(Exception, match=r"payload|closed|not completed|Connection"):
            await response.content.read()
    assert await farebox.spent(account, DOLLAR) == 0


async def reprice(farebox: Farebox, shop: str, **change: Any) -> None:
    """Change the publisher's prices, and wait until the change is served."""
    slug = shop.rpartition("/")[2]
    publisher_id = await farebox.pool.fetchval("SELECT id FROM publishers WHERE slug = $1", slug)
    url = f"{farebox.origin}/organizations/default/publishers/{publisher_id}/pricing"
    body = {"asset_id": str(farebox.asset.id), **change}
    reply = await farebox.agent.ask("PUT", url, headers=farebox.publisher.headers, body=body)
    assert reply.status == 200, reply.text
    await asyncio.sleep(0.7)


@pytest.mark.parametrize(
    ("size", "prices", "cost"),
    [
        (10_000, {"base_price_per_1000_rows": "0.001"}, 10_000),
        (1, {"base_price_per_1000_rows": "0.001"}, 1),
        (10_001, {"base_price_per_1000_rows": "0.001", "markup_multiplier": "1.5"}, 15_002),
        (10_000, {"base_price_per_1000_rows": "0.001", "price_per_call": "0.02"}, 30_000),
        (0, {"base_price_per_1000_rows": "0.001"}, 0),
    ],
)
async def test_bytes_are_charged_by_the_thousand(
    farebox: Farebox, account: Account, size: int, prices: dict[str, Any], cost: int
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * size)

    farebox.upstream.handler = answer
    shop = await farebox.publish(**{"price_per_call": None, **prices})
    await reprice(farebox, shop, pricing_model="per_byte", max_charge="0.4")
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert (reply.status, len(reply.text)) == (200, size)
    assert await farebox.spent(account, DOLLAR) == cost


async def test_bytes_beyond_the_ceiling_are_not_owed(farebox: Farebox, account: Account) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1_000_000)

    farebox.upstream.handler = answer
    shop = await farebox.publish(price_per_call=None, base_price_per_1000_rows="0.001")
    # No ceiling yet, so nothing can be set aside.
    await reprice(farebox, shop, pricing_model="per_byte")
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 403
    await reprice(farebox, shop, max_charge="0.4")
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    assert await farebox.spent(account, DOLLAR) == 40 * CENT


async def test_who_hangs_up_pays_for_the_bytes_that_arrived(farebox: Farebox, account: Account) -> None:
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * 5000)
        await go_on.wait()
        await response.write(b"x" * 5000)
        return response

    farebox.upstream.handler = answer
    shop = await farebox.publish(price_per_call=None, base_price_per_1000_rows="0.001")
    await reprice(farebox, shop, pricing_model="per_byte", max_charge="0.4")
    async with farebox.session.get(f"{shop}/x", headers=account.headers) as response:
        await response.content.readexactly(5000)
        response.close()
    await asyncio.sleep(0.1)
    go_on.set()
    assert await farebox.spent(account, DOLLAR) in (5000, 10_000)


async def test_each_call_of_a_month_has_its_tier(farebox: Farebox, account: Account) -> None:
    shop = await farebox.publish()
    tiers = [{"up_to": 3, "price": "0.04"}, {"up_to": 5, "price": "0.02"}, {"price": "0.01"}]
    await reprice(farebox, shop, pricing_model="tiered", tiers=tiers)
    asked = (farebox.agent.ask("GET", f"{shop}/x", headers=account.headers) for _ in range(8))
    assert {reply.status for reply in await asyncio.gather(*asked)} == {200}
    assert await farebox.spent(account, DOLLAR) == (3 * 4 + 2 * 2 + 3) * CENT
    costs = [row["cost"] for row in await farebox.pool.fetch("SELECT cost FROM usage_events ORDER BY cost")]
    assert costs == [CENT] * 3 + [2 * CENT] * 2 + [4 * CENT] * 3
    # Another caller's month is its own.
    other = await farebox.sign_up()
    await farebox.fund(other, DOLLAR)
    await farebox.agent.ask("GET", f"{shop}/x", headers=other.headers)
    assert await farebox.balance(other) == DOLLAR - 4 * CENT


async def test_a_markup_is_on_every_price(farebox: Farebox) -> None:
    shop = await farebox.publish(
        price_per_call="0.05",
        markup_multiplier="1.2",
        endpoints=[{"method": "GET", "path": "/own", "price": "0.1"}],
    )
    assert (await farebox.agent.ask("GET", f"{shop}/x")).offers[0]["amount"] == str(6 * CENT)
    assert (await farebox.agent.ask("GET", f"{shop}/own")).offers[0]["amount"] == str(12 * CENT)


async def test_compute_is_charged_by_the_hour_to_the_millisecond(farebox: Farebox, account: Account) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(text="done")

    farebox.upstream.handler = answer
    # A ten-thousandth of a dollar each second, and 0.01 to start.
    shop = await farebox.publish(publisher_category="compute", price_per_call="0.01", hourly_rate="0.36")
    reply = await farebox.agent.ask("POST", f"{shop}/run", headers=account.headers)
    assert reply.status == 200
    assert CENT + 50 <= await farebox.spent(account, DOLLAR) <= CENT + 150
