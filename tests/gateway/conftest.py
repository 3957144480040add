from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from config.settings import Network
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, grants
from gateway.ledger.batches import Opening, Posting
from gateway.ledger.grants import NewGrant
from gateway.ledger.holds import Holds
from gateway.types import Asset
from tests.arrivals import arrive

NETWORK = Network.model_validate(
    {
        "id": "eip155:84532",
        "rpc_url": "http://127.0.0.1:1",
        "facilitator_key": "0x" + "11" * 32,
        "assets": [
            {"address": "0x" + digit * 40, "symbol": symbol, "decimals": 6, "name": symbol, "version": "1"}
            for digit, symbol in (("a", "USDC"), ("b", "EURC"))
        ],
    }
)
USDC, EURC = accounts.of_networks([NETWORK]).values()

TRIAL_BALANCE = """
SELECT posted, held, kind,
    (SELECT coalesce(sum(amount), 0) FROM entries WHERE account_id = id) AS booked,
    (
        SELECT coalesce(sum(amount - coalesce(promotional_amount, 0)), 0) FROM holds
        WHERE payer_id = id AND state = 'open'
    ) + (
        SELECT coalesce(sum(promotional_amount), 0) FROM holds WHERE promotional_id = id AND state = 'open'
    ) + (SELECT coalesce(sum(amount), 0) FROM purses WHERE payer_id = accounts.id)
    + (SELECT coalesce(sum(amount), 0) FROM slips WHERE payer_id = accounts.id) AS open
FROM accounts
"""
# Promotional accounts beside what their grants say, and the holds that draw on each grant.
PROMOTIONS = """
SELECT posted = left_over AND held = set_aside AND is_told AS agrees FROM (
    SELECT posted, held,
        (
            SELECT coalesce(sum(amount - spent - expired), 0) FROM grants WHERE account_id = accounts.id
        ) AS left_over,
        (SELECT coalesce(sum(held), 0) FROM grants WHERE account_id = accounts.id) AS set_aside,
        (
            SELECT coalesce(bool_and(grants.held = (
                SELECT coalesce(sum(hold_grants.amount), 0)
                FROM hold_grants JOIN holds ON holds.call_id = hold_grants.call_id
                WHERE grant_id = grants.id AND state = 'open'
            )), true) FROM grants WHERE account_id = accounts.id
        ) AS is_told
    FROM accounts WHERE kind = 'promotional'
) AS one
"""

USED = "SELECT coalesce(sum(cost), 0) FROM usage_events"
CHARGED = """
SELECT coalesce(sum(amount), 0) FROM entries JOIN transfers ON transfers.id = transfer_id
WHERE amount > 0 AND kind = 'charge'
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a test asks of the ledger besides the code under test."""

    pool: Pool

    async def organization(self, created_by: UUID | None = None) -> UUID:
        """Somebody's, and everybody makes one only, unless it is said who makes another."""
        organization_id, person_id = uuid4(), created_by or uuid4()
        if created_by is None:
            await self.pool.execute("INSERT INTO users (id, kind, name) VALUES ($1, 'agent', 'A')", person_id)
        await self.pool.execute(
            "INSERT INTO organizations (id, name, slug, created_by, is_personal)"
            " VALUES ($1, 'A', $2, $3, true)",
            organization_id,
            str(organization_id),
            person_id,
        )
        return organization_id

    async def funded(self, amount: int) -> UUID:
        """An organization with so much."""
        organization_id = await self.organization()
        await self.deposit(organization_id, amount)
        return organization_id

    async def publisher(self, organization_id: UUID) -> UUID:
        publisher_id = uuid4()
        await self.pool.execute(
            "INSERT INTO publishers (id, organization_id, slug, name, category, wallet_address,"
            " wallet_network_id, auth_type)"
            " VALUES ($1, $2, $3, 'P', 'integration', '0x', 'eip155:84532', 'static')",
            publisher_id,
            organization_id,
            str(publisher_id),
        )
        return publisher_id

    async def deposit(self, owner: UUID, amount: int, asset: Asset = USDC) -> UUID:
        account_id = await accounts.ensure(self.pool, owner, asset.id, "funded")
        if amount:
            await arrive(self.pool, account_id, asset.id, amount, "test deposit")
        return account_id

    async def balance(self, owner: UUID, asset: Asset = USDC, kind: str = "funded") -> tuple[int, int]:
        row = await self.pool.fetchrow(
            "SELECT posted, held FROM accounts WHERE owner_id = $1 AND asset_id = $2 AND kind = $3",
            owner,
            asset.id,
            kind,
        )
        return (row["posted"], row["held"]) if row else (0, 0)

    async def is_sound(self) -> bool:
        """Posted is the sum of entries, held of open holds, all of it is zero, and usage is charges."""
        rows = await self.pool.fetch(TRIAL_BALANCE)
        assert rows, "an empty ledger proves nothing"
        agrees = all((row["posted"], row["held"]) == (row["booked"], row["open"]) for row in rows)
        agrees = agrees and all(row["agrees"] for row in await self.pool.fetch(PROMOTIONS))
        used, charged = await self.pool.fetchval(USED), await self.pool.fetchval(CHARGED)
        return agrees and sum(row["posted"] for row in rows) == 0 and used == charged

    async def fill_budget(self, amount: int) -> None:
        await grants.fill(self.pool, USDC.id, amount, "bank", uuid4())

    async def grant(self, owner: UUID, amount: int, lifetime: timedelta = timedelta(days=1)) -> UUID:
        """``lifetime`` may be over already."""
        new = NewGrant(owner, USDC.id, amount, "gift", uuid4(), "Welcome", datetime.now(UTC) + lifetime)
        async with self.pool.acquire() as connection, connection.transaction():
            given = await grants.give(connection, new)
        assert given is not None, "its cause is new"
        grant_id: UUID = given["id"]
        return grant_id

    async def grants(self, owner: UUID) -> list[tuple[int, int, int]]:
        """What is held, spent and expired of each, in the order they expire."""
        return [
            (row["held"], row["spent"], row["expired"])
            for row in await self.pool.fetch(
                "SELECT held, spent, expired FROM grants WHERE organization_id = $1 ORDER BY expires_at",
                owner,
            )
        ]


@pytest.fixture
async def ledger(pool: Pool) -> Ledger:
    await accounts.publish_assets(pool, [NETWORK])
    return Ledger(pool)


@pytest.fixture
async def crowd(pool: Pool) -> Pool:
    """A pool with every connection open; otherwise the first racer is home before the others start."""
    async with AsyncExitStack() as stack:
        for _ in range(pool.get_max_size()):
            await stack.enter_async_context(pool.acquire())
    return pool


@pytest.fixture
async def holds(pool: Pool) -> AsyncIterator[Holds]:
    holds = Holds(pool, timedelta(hours=1))
    yield holds
    await holds.close()


@dataclass(frozen=True, slots=True)
class Seller:
    """A publisher who is paid in USDC."""

    organization_id: UUID
    publisher_id: UUID
    earnings_id: UUID

    def opening(self, owner: UUID, amount: int, call_id: UUID | None = None) -> Opening:
        return Opening(call_id or ids.new(), owner, self.earnings_id, USDC.id, amount)

    def posting(self, call_id: UUID, spent: int, fee: int = 0) -> Posting:
        return Posting(call_id, spent, fee, "GET /x", self.publisher_id, "GET", "/x", 200)


@pytest.fixture
async def seller(ledger: Ledger, pool: Pool) -> Seller:
    organization_id = await ledger.organization()
    earnings_id = await accounts.ensure(pool, organization_id, USDC.id, "earnings")
    return Seller(organization_id, await ledger.publisher(organization_id), earnings_id)
