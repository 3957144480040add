"""Payments by card in tests: the product with Stripe's SDK pointed at the fake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from pytest_aiohttp.plugin import AiohttpClient

from config.card_payments import Stripe
from control import app
from control.api.ports import Ports
from control.identity import people
from control.identity.people import Newcomer
from control.processors.jobs import Clerk
from control.processors.port import Processors
from control.processors.stripe_api import StripeApi
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, moves
from gateway.ledger.accounts import PLATFORM, Kind
from tests.control.conftest import TEST_USDC, Client, Member, bearer
from tests.fakes.stripe import FakeStripe, running

NEW_SECRET = "whsec_" + "b2" * 16


@dataclass(slots=True)
class Till:
    """A client of the product that takes cards, the fake that it asks, and the job that nobody waits for."""

    client: Client
    pool: Pool
    stripe: FakeStripe
    clerk: Clerk
    organization_id: UUID

    async def deposit(self, cents: int = 1000, **headers: str) -> Any:
        response = await self.client.post("/wallet/deposit", json={"amount_cents": cents}, headers=headers)
        assert response.status == 200, await response.text()
        return (await response.json())["data"]

    async def session_of(self, deposit_id: str) -> str:
        found = await self.pool.fetchval(
            "SELECT session_id FROM card_payments WHERE id = $1", UUID(deposit_id)
        )
        return str(found)

    async def paid(self, cents: int = 1000) -> Any:
        """A deposit that is paid and booked: its payment intent."""
        made = await self.deposit(cents)
        session = self.stripe.pay(await self.session_of(made["deposit_id"]))
        await self.tell("checkout.session.completed", session)
        assert await self.work() == 1
        return session["payment_intent"]

    async def tell(self, type: str, subject: Any, **changes: Any) -> None:
        body, signature = self.stripe.signed(self.stripe.told(type, subject, **changes))
        assert await self.send(body, signature) == 200

    async def send(self, body: bytes, signature: str) -> int:
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json; charset=utf-8"}
        response = await self.client.post("/webhooks/stripe", data=body, headers=headers)
        await response.read()
        return response.status

    async def work(self) -> int:
        return await self.clerk.turn()

    async def balance(
        self, owner: UUID | None = None, kind: Kind = "funded", asset_id: UUID = TEST_USDC
    ) -> int:
        account = await accounts.ensure(self.pool, owner or self.organization_id, asset_id, kind)
        return int(await self.pool.fetchval("SELECT posted FROM accounts WHERE id = $1", account))

    async def cleared(self) -> int:
        return await self.balance(PLATFORM, "stripe")

    async def events(self) -> list[tuple[str, str | None]]:
        rows = await self.pool.fetch("SELECT state, note FROM payment_events ORDER BY received_at, id")
        return [(row["state"], row["note"]) for row in rows]

    async def spend(self, amount: int) -> None:
        """As if for calls."""
        ours = await accounts.ensure(self.pool, self.organization_id, TEST_USDC, "funded")
        fees = await accounts.ensure(self.pool, PLATFORM, TEST_USDC, "fees")
        await moves.move(self.pool, "charge", ids.new(), "calls", {ours: -amount, fees: amount})


@asynccontextmanager
async def api_of(fake: FakeStripe, ports: Ports) -> AsyncIterator[StripeApi]:
    settings = Stripe(
        secret_key=SecretStr(fake.key),
        publishable_key="pk_test_TYooMQauvdEDq54NiTphI7jx",
        # One is being replaced by the other.
        webhook_secrets=(SecretStr(NEW_SECRET), SecretStr(fake.secret)),
        api_base=fake.url,
    )
    asset = accounts.of_networks(ports.settings.networks)[TEST_USDC]
    api = StripeApi(settings, "test", asset)
    try:
        yield api
    finally:
        await api.close()


def taking(ports: Ports, api: StripeApi) -> Ports:
    return replace(ports, processors=Processors(stripe=api))


async def operating(pool: Pool) -> dict[str, str]:
    who = await people.create(pool, "agent", "Operator", None)
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'owner')", PLATFORM, who.user_id
    )
    return await bearer(pool, Newcomer(who.user_id, PLATFORM, who.created_at))


def seconds_ago(seconds: int) -> int:
    return int(datetime.now(UTC).timestamp()) - seconds


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with running(FakeStripe()) as fake:
        yield fake


@pytest.fixture
async def till(
    pool: Pool, ports: Ports, member: Member, stripe: FakeStripe, aiohttp_client: AiohttpClient
) -> AsyncIterator[Till]:
    async with api_of(stripe, ports) as api:
        client = await aiohttp_client(app.create(pool, taking(ports, api)), headers=member.headers)
        clerk = Clerk(pool, Processors(stripe=api))
        yield Till(client, pool, stripe, clerk, member.id.organization_id)
