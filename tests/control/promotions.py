"""Somebody whom the platform gives something, and what the tests of it set up."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from config.promotions import Promotions
from control.api.ports import Ports
from gateway.kit.sql import Pool
from gateway.ledger import accounts, grants, moves
from tests.control.conftest import TEST_USDC, Client, Member


def offering(ports: Ports, **promotions: Any) -> Ports:
    settings = ports.settings.model_copy(update={"promotions": Promotions(**promotions)})
    return replace(ports, settings=settings)


async def fill(pool: Pool, amount: int = 1_000_000_000, asset_id: UUID = TEST_USDC) -> None:
    await grants.fill(pool, asset_id, amount, "bank", uuid4())


async def deposit(pool: Pool, member: Member, amount: int, asset_id: UUID = TEST_USDC) -> None:
    """Funded money, from the bank."""
    funded = await accounts.ensure(pool, member.id.organization_id, asset_id, "funded")
    bank = await accounts.ensure(pool, accounts.PLATFORM, asset_id, "bank")
    await moves.move(pool, "deposit", uuid4(), "Deposit", {bank: -amount, funded: amount})


async def verify(pool: Pool, member: Member) -> None:
    """Make a person with a verified address of an agent."""
    await pool.execute(
        "UPDATE users SET kind = 'person', email = $2, email_verified_at = now() WHERE id = $1",
        member.id.user_id,
        f"{member.id.user_id}@example.com",
    )


async def promotional(pool: Pool, member: Member) -> int:
    return int(
        await pool.fetchval(
            "SELECT coalesce(sum(posted), 0) FROM accounts WHERE owner_id = $1 AND kind = 'promotional'",
            member.id.organization_id,
        )
    )


async def post(client: Client, path: str, **options: Any) -> tuple[int, Any]:
    """The status, and the data or the code of the problem."""
    response = await client.post(path, **options)
    body = await response.json() if response.content_type.endswith("json") else {}
    return response.status, body.get("data", body.get("code"))


async def get(client: Client, path: str, headers: Mapping[str, str] | None = None) -> Any:
    response = await client.get(path, headers=headers)
    assert response.status == 200, await response.text()
    return (await response.json())["data"]
