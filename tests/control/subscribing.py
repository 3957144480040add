"""Plans bought at Polar in tests: the product with its SDK pointed at the fake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
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
from tests.fakes import polar_plans
from tests.fakes.polar import FakePolar, Json, running

PRO, TEAM = str(uuid4()), str(uuid4())
SUCCESS = "https://app.example/done"


@dataclass(slots=True)
class Kiosk:
    client: Client
    pool: Pool
    polar: FakePolar
    api: PolarApi
    clerk: Clerk
    organization_id: UUID

    async def post(self, path: str, status: int = 200, **body: Any) -> Any:
        response = await self.client.post(f"/v1/billing/{path}", json=body)
        answer = await response.json()
        assert response.status == status, answer
        return answer

    async def bought(self, tier: str = "pro", **changes: Any) -> Json:
        """On a page of our own; nobody was told yet."""
        made = await self.post("checkout", tier=tier, successURL=SUCCESS)
        return polar_plans.subscribe(self.polar, made["id"], **changes)

    async def told(self, type: str, data: Json) -> Any:
        body, headers = self.polar.signed(f"subscription.{type}", data)
        response = await self.client.post("/v1/billing/webhook", data=body, headers=json_of(headers))
        assert response.status == 200
        return await response.json()

    async def holds(self, tier: str = "pro", **changes: Any) -> Json:
        """Bought, told, and done."""
        made = await self.bought(tier, **changes)
        await self.told("active", made)
        await self.clerk.turn()
        return made

    async def shown(self) -> tuple[str, str]:
        answer = await (await self.client.get("/v1/billing/subscription")).json()
        return answer["tier"], answer["status"]

    async def notes(self) -> list[tuple[str, str | None]]:
        rows = await self.pool.fetch("SELECT state, note FROM payment_events ORDER BY received_at, id")
        return [(row["state"], row["note"]) for row in rows]

    async def plans(self) -> list[tuple[str, bool]]:
        """One after the other, and whether each was bought at Polar."""
        rows = await self.pool.fetch(
            "SELECT tier, subscription_id FROM organization_plans WHERE organization_id = $1"
            " ORDER BY started_at, ends_at NULLS LAST",
            self.organization_id,
        )
        return [(row["tier"], row["subscription_id"] is not None) for row in rows]


def json_of(headers: dict[str, str]) -> dict[str, str]:
    return {"Content-Type": "application/json", **headers}


@dataclass(frozen=True, slots=True)
class Stall:
    polar: FakePolar
    api: PolarApi


@asynccontextmanager
async def selling(ports: Ports) -> AsyncIterator[Stall]:
    async with running(FakePolar(plans={PRO: 2900, TEAM: 9900}), polar_plans.route) as fake:
        settings = Polar(
            access_token=SecretStr(fake.token),
            webhook_secrets=(SecretStr(fake.secret),),
            environment="sandbox",
            api_base=fake.url,
            products={"pro": UUID(PRO), "team": UUID(TEAM), "gone": uuid4()},
        )
        asset = accounts.of_networks(ports.settings.networks)[TEST_USDC]
        api = PolarApi(settings, "test", asset, ports.settings.plans)
        try:
            yield Stall(fake, api)
        finally:
            await api.close()


@pytest.fixture
async def kiosk(
    pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient
) -> AsyncIterator[Kiosk]:
    async with selling(ports) as stall:
        processors = Processors(polar=stall.api)
        # Sessions are of live money as soon as one network is.
        networks = tuple(one for one in ports.settings.networks if one.is_test)
        settings = ports.settings.model_copy(update={"networks": networks})
        chosen = replace(ports, processors=processors, settings=settings)
        client = await aiohttp_client(app.create(pool, chosen), headers=member.headers)
        clerk = Clerk(pool, processors)
        yield Kiosk(client, pool, stall.polar, stall.api, clerk, member.id.organization_id)
