"""Deposits by Polar: its page, its taxes, its orders."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from pytest_aiohttp.plugin import AiohttpClient

from config.card_payments import Polar
from control import app
from control.api.ports import Ports
from control.processors.jobs import Clerk
from control.processors.polar_api import PolarApi
from control.processors.port import Processors
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from tests.control.conftest import TEST_USDC, Client, Member
from tests.fakes.polar import FakePolar, running

CENT = 10_000


@dataclass(slots=True)
class Kiosk:
    client: Client
    pool: Pool
    polar: FakePolar
    clerk: Clerk

    async def deposit(self, cents: int = 1000) -> str:
        """The id of the page at Polar."""
        response = await self.client.post("/wallet/deposit", json={"amount_cents": cents})
        assert response.status == 200, await response.text()
        made = (await response.json())["data"]
        assert made["checkout_url"].startswith("https://polar.sh/checkout/")
        found = await self.pool.fetchval(
            "SELECT session_id FROM card_payments WHERE id = $1", UUID(made["deposit_id"])
        )
        return str(found)

    async def tell(self, type: str, data: Any, **more: Any) -> int:
        return await self.send(*self.polar.signed(type, data, **more))

    async def send(self, body: bytes, headers: dict[str, str]) -> int:
        sent = {"Content-Type": "application/json", **headers}
        return (await self.client.post("/webhooks/polar", data=body, headers=sent)).status

    async def books(self) -> tuple[int, int]:
        rows = await self.pool.fetch("SELECT kind, posted FROM accounts WHERE asset_id = $1", TEST_USDC)
        posted = {row["kind"]: int(row["posted"]) for row in rows}
        return posted.get("funded", 0) // CENT, -posted.get("polar", 0) // CENT

    async def notes(self) -> list[tuple[str, str | None]]:
        rows = await self.pool.fetch("SELECT state, note FROM payment_events ORDER BY received_at, id")
        return [(row["state"], row["note"]) for row in rows]


@pytest.fixture
async def kiosk(
    pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient
) -> AsyncIterator[Kiosk]:
    async with running(FakePolar()) as fake:
        settings = Polar(
            access_token=SecretStr(fake.token),
            webhook_secrets=(SecretStr("polar_whs_other"), SecretStr(fake.secret)),
            environment="sandbox",
            api_base=fake.url,
            product_id=UUID(fake.product_id),
        )
        api = PolarApi(settings, "test", accounts.of_networks(ports.settings.networks)[TEST_USDC])
        processors = Processors(polar=api)
        client = await aiohttp_client(
            app.create(pool, replace(ports, processors=processors)), headers=member.headers
        )
        yield Kiosk(client, pool, fake, Clerk(pool, processors))
        await api.close()


async def test_an_order_that_is_paid_is_credited_without_its_taxes(kiosk: Kiosk) -> None:
    order = kiosk.polar.pay(await kiosk.deposit(1000))
    assert order["total_amount"] == 1190
    assert await kiosk.tell("order.created", order) == 200
    assert await kiosk.tell("order.paid", order) == 200
    assert await kiosk.clerk.turn() == 2
    assert (await kiosk.books(), await kiosk.notes()) == ((1000, 1000), [("done", None)] * 2)


async def test_three_deliveries_at_once_are_one_credit(kiosk: Kiosk) -> None:
    event = kiosk.polar.signed("order.paid", kiosk.polar.pay(await kiosk.deposit()))
    assert await asyncio.gather(*(kiosk.send(*event) for _ in range(3))) == [200] * 3
    assert sum(await asyncio.gather(*(kiosk.clerk.turn() for _ in range(3)))) == 1
    assert await kiosk.books() == (1000, 1000)


async def test_refunds_and_disputes_take_back(kiosk: Kiosk) -> None:
    order = kiosk.polar.pay(await kiosk.deposit(1000))
    # Told before the payment itself: it counts all the same.
    refund = kiosk.polar.refund(order["id"], 300)
    await kiosk.tell("refund.created", refund)
    await kiosk.tell("order.refunded", order)
    await kiosk.tell("order.paid", order)
    await kiosk.clerk.turn()
    assert await kiosk.books() == (700, 700)
    refund["status"] = "failed"
    await kiosk.tell("refund.updated", refund)
    await kiosk.clerk.turn()
    assert await kiosk.books() == (1000, 1000)


async def test_what_is_not_signed_is_refused(kiosk: Kiosk) -> None:
    body, headers = kiosk.polar.signed("order.paid", {"id": str(uuid4())})
    for sent, changes in (
        (body, {"webhook-signature": "v1,bm8="}),
        (body, {"webhook-signature": "nonsense"}),
        (body, {"webhook-id": str(uuid4())}),
        (body, {"webhook-timestamp": "1"}),
        (body, {"webhook-timestamp": "1e400"}),
        (body, {"webhook-timestamp": "soon"}),
        (body + b" ", {}),
        (b"\xff", {}),
    ):
        assert await kiosk.send(sent, headers | changes) == 400, changes
    assert await kiosk.send(body, {}) == 400
    for minutes in (-6, 6):
        at = datetime.now(UTC) + timedelta(minutes=minutes)
        assert await kiosk.send(*kiosk.polar.signed("order.paid", {}, at)) == 400
    assert await kiosk.notes() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"net_amount": 900}, "900 of usd were paid"),
        ({"currency": "eur"}, "1000 of eur were paid"),
        ({"metadata": {"farebox_payment_id": str(uuid4())}}, "has it for payment"),
    ],
)
async def test_what_was_not_asked_for_is_not_credited(kiosk: Kiosk, changes: Any, words: str) -> None:
    await kiosk.tell("order.paid", kiosk.polar.pay(await kiosk.deposit(), **changes))
    await kiosk.clerk.turn()
    ((state, note),) = await kiosk.notes()
    assert (state, words in str(note), await kiosk.books()) == ("failed", True, (0, 0))


async def test_what_is_not_about_us_is_ignored(kiosk: Kiosk) -> None:
    other = kiosk.polar.pay(await kiosk.deposit(), metadata={}, checkout_id=None)
    await kiosk.tell("order.paid", other)
    await kiosk.tell("order.paid", {"id": str(uuid4())})
    await kiosk.tell("customer.created", {"id": str(uuid4())})
    await kiosk.clerk.turn()
    assert [state for state, _ in await kiosk.notes()] == ["ignored"] * 3
    assert await kiosk.books() == (0, 0)


async def test_polar_being_away_is_503_and_tried_again(kiosk: Kiosk) -> None:
    order = kiosk.polar.pay(await kiosk.deposit())
    await kiosk.tell("order.paid", order)
    kiosk.polar.is_down = True
    await kiosk.clerk.turn()
    assert [state for state, _ in await kiosk.notes()] == ["waiting"]
    response = await kiosk.client.post("/wallet/deposit", json={"amount_cents": 1000})
    assert (response.status, (await response.json())["code"]) == (503, "payment-processor-unavailable")


async def test_the_other_processor_is_not_there(kiosk: Kiosk) -> None:
    body = {"amount_cents": 1000, "provider": "stripe"}
    response = await kiosk.client.post("/wallet/deposit", json=body)
    assert (response.status, (await response.json())["code"]) == (503, "card-payments-not-configured")
