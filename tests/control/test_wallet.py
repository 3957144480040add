from uuid import UUID

import pytest

from gateway.kit import money as money_kit
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from tests.arrivals import arrive
from tests.control.conftest import (
    LIVE_USDC,
    TEST_CENT,
    TEST_USDC,
    Client,
    Member,
    bearer,
    join,
    refused_fields,
)
from tests.control.money import Money, data, money

__all__ = ["money"]

WALLET = "0x" + "77" * 20


async def test_an_empty_wallet_is_zero(client: Client) -> None:
    assert await data(client, "/wallet/balance") == {
        "wallet_address": "", "balance_atomic": 0, "balance_usd": "0", "funded_balance_atomic": 0,
        "funded_balance_usd": "0", "promotional_balance_atomic": 0, "promotional_balance_usd": "0",
        "by_source": [], "assets": [], "total_purchases_cents": 0, "total_purchases_usd": "0",
        "has_recovery": False, "recovery_warning": None, "unread_received_transfers": [],
    }  # fmt: skip


async def test_what_is_held_cannot_be_spent(client: Client, money: Money) -> None:
    await money.deposit(1_000_000)
    await money.hold(300_000)
    balance = await data(client, "/wallet/balance")
    assert (balance["balance_atomic"], balance["balance_usd"]) == (700_000, "0.7")
    assert balance["assets"] == [
        {"asset_id": str(TEST_USDC), "symbol": "USDC", "network": "eip155:84532", "decimals": 6,
         "funded_atomic": 1_000_000, "promotional_atomic": 0, "held_atomic": 300_000,
         "available_atomic": 700_000}
    ]  # fmt: skip
    assert balance["by_source"] == [
        {"source": "onchain_deposit", "kind": "funded", "balance_atomic": 700_000, "balance_usd": "0.7"}
    ]


async def test_assets_are_added_in_millionths(client: Client, money: Money) -> None:
    await money.deposit(1_500_000)
    await money.deposit(25, TEST_CENT)
    balance = await data(client, "/wallet/balance")
    assert (balance["balance_atomic"], balance["balance_usd"]) == (1_750_000, "1.75")


@pytest.mark.parametrize(
    ("amount", "decimals", "millionths"),
    [(5, 6, 5), (5, 2, 50_000), (10**18, 18, 10**6), (10**12 - 1, 18, 0), (7, 0, 7_000_000)],
)
def test_totals_round_down(amount: int, decimals: int, millionths: int) -> None:
    assert money_kit.millionths(amount, decimals) == millionths


async def test_live_and_test_money_are_apart(
    client: Client, pool: Pool, money: Money, member: Member
) -> None:
    await money.deposit(1_000_000)
    await money.deposit(9_000_000, LIVE_USDC)
    live = await bearer(pool, member.id, mode="live")
    assert (await data(client, "/wallet/balance"))["balance_usd"] == "1"
    assert (await data(client, "/wallet/balance", **live))["balance_usd"] == "9"
    assert len((await data(client, "/wallet/transactions", **live))["transactions"]) == 1


async def test_nobody_sees_anothers_money(client: Client, pool: Pool, money: Money) -> None:
    await money.deposit(1_000_000)
    other = await join(pool)
    assert (await data(client, "/wallet/balance", **other.headers))["balance_atomic"] == 0
    assert (await data(client, "/wallet/transactions", **other.headers))["transactions"] == []


async def link(pool: Pool, address: str, organization_id: UUID) -> None:
    await pool.execute("INSERT INTO agent_wallets (address, organization_id) VALUES ($1, $2)",
                       address, organization_id)  # fmt: skip


async def test_a_publisher_looks_a_caller_up(client: Client, pool: Pool, money: Money) -> None:
    caller = await join(pool)
    await link(pool, WALLET, caller.id.organization_id)
    account = await accounts.ensure(pool, caller.id.organization_id, TEST_USDC, "funded")
    await arrive(pool, account, TEST_USDC, 5_000_000, "Deposit")
    response = await client.get(f"/wallet/lookup/{WALLET.upper().replace('X', 'x')}")
    assert await response.json() == {
        "serenbucks_atomic": 5_000_000, "onchain_atomic": None, "total_available_atomic": 5_000_000
    }  # fmt: skip
    assert (await client.get(f"/wallet/lookup/0x{'78' * 20}")).status == 404
    assert await refused_fields(await client.get("/wallet/lookup/0x12")) == ["path/agent_wallet"]


async def test_a_stranger_learns_nothing_of_a_wallet(client: Client, pool: Pool, member: Member) -> None:
    await link(pool, WALLET, (await join(pool)).id.organization_id)
    answers = [await client.get(f"/wallet/lookup/{one}") for one in (WALLET, "0x" + "78" * 20)]
    assert [one.status for one in answers] == [403, 403]
    assert await answers[0].text() == await answers[1].text()
    await link(pool, "0x" + "79" * 20, member.id.organization_id)
    own = await client.get(f"/wallet/lookup/0x{'79' * 20}")
    assert (own.status, (await own.json())["total_available_atomic"]) == (200, 0)
    assert (await data(client, "/wallet/balance"))["wallet_address"] == "0x" + "79" * 20
