"""Deposits and calls of one organization that also sells, and what the API says of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.ledger.batches import Opening, Posting
from gateway.ledger.holds import Holds
from gateway.ledger.purses import Purses
from tests.arrivals import arrive
from tests.control.conftest import TEST_USDC, Client, Member
from tests.control.test_publishers import NEW, created
from tests.gateway.charges import charge_of, purse_of


class Money:
    """Made as the gateway makes them."""

    def __init__(self, pool: Pool, member: Member, publisher_id: UUID) -> None:
        self.pool, self.owner, self.publisher_id = pool, member.id.organization_id, publisher_id
        self.holds = Holds(pool, timedelta(minutes=5))

    async def deposit(self, amount: int, asset_id: UUID = TEST_USDC) -> None:
        account = await accounts.ensure(self.pool, self.owner, asset_id, "funded")
        await arrive(self.pool, account, asset_id, amount, "Deposit of USDC")

    async def hold(self, amount: int) -> UUID:
        payee = await accounts.ensure(self.pool, self.owner, TEST_USDC, "earnings")
        call_id = ids.new()
        assert (await self.holds.open(Opening(call_id, self.owner, payee, TEST_USDC, amount))).is_open
        return call_id

    async def call(self, cost: int, path: str = "/today") -> None:
        call_id = await self.hold(cost)
        posting = Posting(call_id, cost, 0, f"GET weather{path}", self.publisher_id, "GET", path, 200)
        assert await self.holds.post(posting)

    async def calls(self, *costs: int, fee: int = 0, is_together: bool = True) -> None:
        """The path is the cost. Together they are paid from a purse, as those of somebody who calls often."""
        if not is_together:
            for cost in costs:
                await self.call(cost, f"/{cost}")
            return
        payee = await accounts.ensure(self.pool, self.owner, TEST_USDC, "earnings")
        purses = Purses(self.pool, timedelta(minutes=5))
        purse = await purse_of(purses, self.owner, TEST_USDC, [*costs])
        postings = [
            Posting(ids.new(), cost, fee, f"GET weather/{cost}", self.publisher_id, "GET", f"/{cost}", 200)
            for cost in costs
        ]
        paid = [purses.charge(charge_of(purse, payee, one)) for one in postings]
        assert all(await asyncio.gather(*paid))
        await purses.close()


async def data(client: Client, path: str, **headers: str) -> Any:
    response = await client.get(path, headers=headers)
    assert response.status == 200, await response.text()
    return (await response.json())["data"]


@pytest.fixture
async def money(client: Client, pool: Pool, member: Member) -> AsyncIterator[Money]:
    publisher = await created(client, NEW)
    money = Money(pool, member, UUID(publisher["id"]))
    yield money
    await money.holds.close()
