import csv
import io
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from uuid import uuid4

import pytest

from control.transactions import rules, sheet
from control.transactions.models import Transaction
from gateway.ledger import accounts
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.moves import Kind, move
from tests.control.conftest import TEST_CENT, TEST_USDC, Client, refused_fields
from tests.control.money import Money, data, money

__all__ = ["money"]

TODAY = datetime.now(UTC).date()


async def moved(money: Money, kind: Kind, other: accounts.Kind, amount: int) -> None:
    """From the platform's account of kind ``other`` to the wallet."""
    outside = await accounts.ensure(money.pool, PLATFORM, TEST_USDC, other)
    own = await accounts.ensure(money.pool, money.owner, TEST_USDC, "funded")
    await move(money.pool, kind, uuid4(), "as the test says", {outside: -amount, own: amount})


async def summary(client: Client, query: str = "") -> dict[str, object]:
    return dict(await data(client, f"/wallet/transactions/summary{query}"))


async def test_what_starts_plus_what_changes_is_what_ends(client: Client, money: Money) -> None:
    await money.deposit(1_000_000)
    await money.deposit(250, TEST_CENT)
    for cost in (10, 20, 30):
        await money.call(cost)
    await money.hold(500_000)
    assert await summary(client) == {
        "period_start": None, "period_end": None, "starting_balance_atomic": 0, "starting_balance_usd": "0",
        "total_credits_atomic": 3_500_000, "total_credits_usd": "3.5", "total_debits_atomic": 60,
        "total_debits_usd": "0.00006", "net_change_atomic": 3_499_940, "net_change_usd": "3.49994",
        "ending_balance_atomic": 3_499_940, "ending_balance_usd": "3.49994", "transaction_count": 5,
    }  # fmt: skip
    tomorrow = await summary(client, f"?start_date={TODAY + timedelta(days=1)}")
    assert (tomorrow["starting_balance_atomic"], tomorrow["transaction_count"]) == (3_499_940, 0)
    before = await summary(client, f"?start_date={TODAY - timedelta(days=9)}&end_date={TODAY}")
    assert (before["starting_balance_atomic"], before["ending_balance_atomic"]) == (0, 0)
    assert (before["period_start"], before["period_end"]) == (str(TODAY - timedelta(days=9)), str(TODAY))


async def test_an_empty_wallet_sums_to_nothing(client: Client) -> None:
    assert (await summary(client))["ending_balance_usd"] == "0"


@pytest.mark.parametrize("path", ["", "/summary", "/export"])
async def test_a_span_that_ends_before_it_starts_is_refused(client: Client, path: str) -> None:
    response = await client.get(f"/wallet/transactions{path}?start_date=2026-02-01&end_date=2026-01-01")
    assert response.status == 400
    assert await refused_fields(response) == ["query/end_date"]


def test_rounding_leaves_no_gap() -> None:
    """18 decimals: each amount alone is less than a millionth, and together they are more."""
    rows = [{"decimals": 18, "ends": 12 * 10**11, "credits": 9 * 10**11, "debits": 6 * 10**11}]
    found = rules.summary([{**rows[0], "transactions": 2}], date(2026, 1, 1), None)
    assert found.starting_balance_atomic + found.net_change_atomic == found.ending_balance_atomic == 1
    assert found.total_credits_atomic - found.total_debits_atomic == found.net_change_atomic


async def test_each_line_says_where_its_money_came_from(client: Client, money: Money) -> None:
    await money.deposit(1_000_000)
    await moved(money, "deposit", "stripe", 2_000_000)
    await moved(money, "deposit", "bank", 3_000_000)
    await moved(money, "reversal", "stripe", -500_000)
    lines = (await data(client, "/wallet/transactions"))["transactions"]
    assert [(one["source"], one["direction"]) for one in reversed(lines)] == [
        ("onchain_deposit", "credit"),
        ("fiat_purchase", "credit"),
        ("admin_deposit", "credit"),
        ("payment_reversed", "debit"),
    ]
    balance = await data(client, "/wallet/balance")
    assert (balance["total_purchases_cents"], balance["total_purchases_usd"]) == (200, "2")


async def test_a_sheet_has_every_call_to_the_atomic_unit(client: Client, money: Money) -> None:
    await money.deposit(1_000_000)
    await money.call(10, "/today,=1+1")
    await money.call(25)
    response = await client.get("/wallet/transactions/export")
    assert response.status == 200
    assert response.content_type == "text/csv"
    assert response.headers["Content-Disposition"] == 'attachment; filename="wallet-test.csv"'
    rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [(one["source"], one["amount_atomic"], one["amount"]) for one in rows] == [
        ("usage", "-25", "-0.000025"),
        ("usage", "-10", "-0.00001"),
        ("onchain_deposit", "1000000", "1"),
    ]
    assert rows[1]["description"] == "GET weather/today,=1+1"
    assert sum(int(one["amount_atomic"]) for one in rows) == 999_965


async def test_a_sheet_for_an_empty_span_has_its_columns(client: Client) -> None:
    response = await client.get("/wallet/transactions/export?end_date=2020-01-01")
    assert (await response.text()).strip() == ",".join(sheet.COLUMNS)


async def test_too_long_a_sheet_is_refused_before_it_is_written(
    client: Client, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "LINES_MAX", 1)
    await money.deposit(1_000_000)
    await money.call(10)
    response = await client.get("/wallet/transactions/export")
    assert (response.status, await refused_fields(response)) == (400, ["query/start_date"])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_name_is_a_formula_for_whoever_opens_the_sheet(text: str) -> None:
    line = Transaction(
        id=uuid4(), direction="debit", source="usage", amount_atomic=1, amount_usd="0.000001",
        asset_id=TEST_USDC, asset_symbol="USDC", description=text, publisher_name=text, call_count=1,
        created_at=datetime.now(UTC),
    )  # fmt: skip
    _, row = csv.reader(io.StringIO(sheet.write([line]).decode()))
    assert row[-2:] == [f"'{text}"] * 2


@pytest.mark.parametrize("is_together", [False, True])
async def test_calls_are_put_together_by_day_and_publisher(
    client: Client, money: Money, is_together: bool
) -> None:
    await money.deposit(1_000_000)
    await money.calls(10, 20, 30, is_together=is_together)
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


@pytest.mark.parametrize("is_together", [False, True])
async def test_each_call_is_shown_when_asked_for(client: Client, money: Money, is_together: bool) -> None:
    await money.deposit(1_000_000)
    await money.calls(10, 20, 30, is_together=is_together)
    history = await data(client, "/wallet/transactions?include_usage=true")
    *calls, deposit = history["transactions"]
    if is_together:
        # They are of one moment, and so in the order of their ids.
        calls.sort(key=itemgetter("amount_atomic"), reverse=True)
    assert [(one["amount_atomic"], one["description"]) for one in [*calls, deposit]] == [
        (30, "GET weather/30"), (20, "GET weather/20"), (10, "GET weather/10"), (1_000_000, "Deposit of USDC")
    ]  # fmt: skip
    assert {(one["call_count"], one["publisher_id"]) for one in calls} == {(1, str(money.publisher_id))}
    page = await data(client, "/wallet/transactions?include_usage=true&limit=2&exact_total=true")
    assert (page["total"], len(page["transactions"])) == (4, 2)
    rest = await data(client, f"/wallet/transactions?include_usage=true&limit=2&cursor={page['next_cursor']}")
    assert page["transactions"] + rest["transactions"] == history["transactions"]


async def test_calls_that_were_charged_together_count_as_what_they_are(client: Client, money: Money) -> None:
    await money.deposit(1_000_000)
    await money.calls(10, 20, 30)
    await money.call(40)
    assert (await data(client, "/wallet/transactions"))["transactions"][0]["call_count"] == 4
    said = await summary(client)
    assert (said["total_debits_atomic"], said["transaction_count"]) == (100, 5)
    rows = list(csv.DictReader(io.StringIO(await (await client.get("/wallet/transactions/export")).text())))
    amounts = [one["amount_atomic"] for one in rows]
    assert (amounts[0], {*amounts[1:4]}, amounts[4:]) == ("-40", {"-30", "-20", "-10"}, ["1000000"])
    tomorrow = TODAY + timedelta(days=1)
    none = await data(client, f"/wallet/transactions?include_usage=true&start_date={tomorrow}")
    assert none["transactions"] == []


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


@pytest.mark.parametrize("by", ["offset", "cursor"])
async def test_pages_have_calls_of_either_kind_once(client: Client, money: Money, by: str) -> None:
    """Those that were charged together are looked up for the page, the others are transfers."""
    await money.deposit(1_000_000)
    for cost in (100, 200):
        await money.calls(cost + 1, cost + 2, cost + 3)
        await money.call(cost)
        await money.deposit(cost)
    whole = (await data(client, "/wallet/transactions?include_usage=true"))["transactions"]
    assert len({one["id"] for one in whole}) == len(whole) == 11
    for limit in (1, 2, 4):
        seen: list[object] = []
        query = ""
        while len(seen) < len(whole):
            history = await data(client, f"/wallet/transactions?include_usage=true&limit={limit}{query}")
            seen += history["transactions"]
            query = f"&offset={len(seen)}" if by == "offset" else f"&cursor={history['next_cursor']}"
        assert seen == whole


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


@pytest.mark.parametrize("text", ["", "a", "2026", "2026-01-01|x"])
def test_a_cursor_is_only_what_was_given_out(text: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        rules.read_cursor(text)


def test_a_cursor_keeps_its_place() -> None:
    place = datetime(2026, 1, 31, 12, 30, 0, 123456, UTC), uuid4()
    assert rules.read_cursor(rules.cursor(*place)) == place
