from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from control.wallet import rules
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.ledger.holds import Holds, Opening, Posting
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
from tests.control.test_publishers import NEW, created

WALLET = "0x" + "77" * 20


class Money:
    """Deposits and calls of one organization, made as the gateway makes them."""

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


@pytest.fixture
async def money(client: Client, pool: Pool, member: Member) -> AsyncIterator[Money]:
    publisher = await created(client, NEW)
    money = Money(pool, member, UUID(publisher["id"]))
    yield money
    await money.holds.close()


async def data(client: Client, path: str, **headers: str) -> Any:
    response = await client.get(path, headers=headers)
    assert response.status == 200, await response.text()
    return (await response.json())["data"]


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
    assert rules.millionths(amount, decimals) == millionths


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


async def test_calls_are_put_together_by_day_and_publisher(client: Client, money: Money) -> None:
    await money.deposit(1_000_000)
    for cost in (10, 20, 30):
        await money.call(cost)
    history = await data(client, "/wallet/transactions")
    calls, deposit = history["transactions"]
    today = datetime.now(UTC).date()
    assert calls.items() >= {
        "direction": "debit", "source": "usage", "amount_atomic": 60, "amount_usd": "0.00006",
        "publisher_id": str(money.publisher_id), "publisher_name": "Weather", "call_count": 3,
        "description": f"3 calls to Weather on {today}", "asset_symbol": "USDC",
    }.items()  # fmt: skip
    assert deposit.items() >= {
        "direction": "credit", "source": "onchain_deposit", "amount_usd": "1", "publisher_id": None,
        "description": "Deposit of USDC", "call_count": 0,
    }.items()  # fmt: skip
    assert (history["total"], history["total_is_exact"], history["next_cursor"]) == (2, True, None)
    again = await data(client, "/wallet/transactions")
    assert again["transactions"][0]["id"] == calls["id"]


async def test_each_call_is_shown_when_asked_for(client: Client, money: Money) -> None:
    await money.deposit(1_000_000)
    for cost in (10, 20, 30):
        await money.call(cost, f"/{cost}")
    history = await data(client, "/wallet/transactions?include_usage=true")
    assert [(one["amount_atomic"], one["description"]) for one in history["transactions"]] == [
        (30, "GET weather/30"), (20, "GET weather/20"), (10, "GET weather/10"), (1_000_000, "Deposit of USDC")
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["offset", "cursor"])
async def test_pages_have_every_line_once(client: Client, money: Money, by: str) -> None:
    for amount in range(1, 8):
        await money.deposit(amount)
    seen, query = [], ""
    for page in range(4):
        history = await data(client, f"/wallet/transactions?limit=2{query}")
        seen += [one["amount_atomic"] for one in history["transactions"]]
        assert (history["next_cursor"] is None) == (page == 3)
        query = f"&offset={len(seen)}" if by == "offset" else f"&cursor={history['next_cursor']}&offset=5"
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_a_new_line_does_not_shift_a_cursor(client: Client, money: Money) -> None:
    for amount in (1, 2, 3):
        await money.deposit(amount)
    first = await data(client, "/wallet/transactions?limit=2")
    await money.deposit(4)
    rest = await data(client, f"/wallet/transactions?limit=2&cursor={first['next_cursor']}")
    assert [one["amount_atomic"] for one in rest["transactions"]] == [1]


async def test_a_total_is_exact_or_says_so(client: Client, money: Money) -> None:
    for amount in (1, 2, 3):
        await money.deposit(amount)
    for query, total, is_exact in [
        ("limit=1", 2, False),                     # at least one more
        ("limit=1&exact_total=true", 3, True),
        ("limit=3", 3, True),
        ("limit=1&offset=7", 7, False),            # past the end, nothing was counted
    ]:  # fmt: skip
        history = await data(client, f"/wallet/transactions?{query}")
        assert (history["total"], history["total_is_exact"]) == (total, is_exact), query


async def test_dates_bound_the_history(client: Client, money: Money) -> None:
    await money.deposit(1)
    today = datetime.now(UTC).date()
    tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
    for query, count in [
        (f"start_date={today}", 1),
        (f"start_date={tomorrow}", 0),
        (f"end_date={today}", 0),
        (f"start_date={yesterday}&end_date={tomorrow}&exact_total=true", 1),
    ]:
        history = await data(client, f"/wallet/transactions?{query}")
        assert (len(history["transactions"]), history["total"]) == (count, count), query


def test_a_day_starts_at_midnight_utc() -> None:
    assert rules.midnight(date(2026, 1, 31)) == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999999999999", "offset"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=MjAyNi0wMS0wMXww", "cursor"),
        ("start_date=2026-13-01", "start_date"),
        ("start_date=1700000000", "start_date"),
        ("end_date=yesterday", "end_date"),
        ("include_usage=maybe", "include_usage"),
    ],
)
async def test_a_bad_question_is_refused(client: Client, query: str, field: str) -> None:
    assert await refused_fields(await client.get(f"/wallet/transactions?{query}")) == [f"query/{field}"]


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


@pytest.mark.parametrize("text", ["", "a", "2026", "2026-01-01|x"])
def test_a_cursor_is_only_what_was_given_out(text: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        rules.read_cursor(text)


def test_a_cursor_keeps_its_place() -> None:
    place = datetime(2026, 1, 31, 12, 30, 0, 123456, UTC), uuid4()
    assert rules.read_cursor(rules.cursor(*place)) == place
