"""The arithmetic of invoices."""

from datetime import date, timedelta
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.plans import Plan
from control.invoicing.lines import Calls, Held, Month, Subscription, calls, fees, metered
from control.invoicing.wording import decimal, numbered, usd

MARCH = Month(date(2026, 3, 1))
DAY = timedelta(days=1)


def test_a_whole_month_costs_what_the_plan_says() -> None:
    started = MARCH.start - 40 * DAY
    (line,) = fees(MARCH, [Subscription("Pro", 2900, started, None)])
    assert (line.quantity, line.unit_price, line.amount_cents) == ("1", "29.00", 2900)


def test_an_upgrade_costs_the_difference_for_the_rest_of_the_month() -> None:
    changed = MARCH.start + 10 * DAY
    lines = fees(
        MARCH,
        [Subscription("Pro", 3100, MARCH.start, changed), Subscription("Team", 6200, changed, None)],
    )
    assert [line.amount_cents for line in lines] == [1000, 4200]
    assert sum(line.amount_cents for line in lines) == 3100 + (6200 - 3100) * 21 // 31


@pytest.mark.parametrize("first", [date(2026, 2, 1), date(2028, 2, 1), date(2026, 12, 1), date(2026, 4, 1)])
def test_a_month_ends_where_the_next_begins(first: date) -> None:
    month = Month(first)
    assert Month(month.end.date()).start == month.end
    assert month.end.day == 1
    assert month.end > month.start


CUTS = st.lists(st.integers(0, MARCH.seconds), max_size=12).map(sorted)
PRICES = st.lists(st.integers(0, 10**6), min_size=13, max_size=13)


@given(CUTS, PRICES)
def test_a_fee_in_pieces_is_the_rounded_whole(cuts: list[int], prices: list[int]) -> None:
    edges = [0, *cuts, MARCH.seconds]
    pieces = list(zip(edges, edges[1:], prices, strict=False))
    lines = fees(
        MARCH,
        [
            Subscription("P", price, MARCH.start + timedelta(seconds=a), MARCH.start + timedelta(seconds=b))
            for a, b, price in pieces
        ],
    )
    exact = sum((Fraction(price * (b - a), MARCH.seconds) for a, b, price in pieces), Fraction(0))
    assert sum(line.amount_cents for line in lines) == round(exact)
    assert all(line.amount_cents >= 0 for line in lines)


@given(st.integers(0, MARCH.seconds), st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_upgrade_never_costs_less_than_staying_nor_more_than_starting_with_it(
    second: int, low: int, more: int
) -> None:
    at = MARCH.start + timedelta(seconds=second)
    both = [Subscription("A", low, MARCH.start, at), Subscription("B", low + more, at, None)]
    total = sum(line.amount_cents for line in fees(MARCH, both))
    assert low <= total <= low + more
    difference = Fraction(more * (MARCH.seconds - second), MARCH.seconds)
    assert abs(total - low - difference) <= Fraction(1, 2)


ASSETS = [(UUID(int=1), "USDC", 6), (UUID(int=2), "CENT", 2), (UUID(int=3), "WEI", 18)]
SOLD = st.builds(
    lambda asset, publisher, rail, count, cost: Calls(
        publisher, rail, asset[0], asset[1], asset[2], count, cost
    ),
    st.sampled_from(ASSETS),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["prepaid", "x402"]),
    st.integers(1, 10**9),
    st.integers(1, 10**24),
)


@given(st.lists(SOLD, max_size=20))
def test_calls_were_paid_already_to_the_atomic_unit(sold: list[Calls]) -> None:
    lines = calls(sold)
    assert sum(line.amount_cents for line in lines) == 0
    for asset_id, _, _ in ASSETS:
        of_it = [line for line in lines if line.asset_id == asset_id]
        on_lines = sum(line.amount_atomic or 0 for line in of_it if line.line_type == "calls")
        assert on_lines == sum(one.cost for one in sold if one.asset_id == asset_id)
        assert sum(line.amount_atomic or 0 for line in of_it) == 0


def test_only_what_goes_beyond_the_plan_is_metered() -> None:
    plan = Plan(
        id="p",
        name="P",
        included={"compute_hours": 10},
        prices={"compute_hours": "0.16", "storage_gb_months": "0.35", "egress_gb": "0.09"},
    )
    used = {
        "compute_milliseconds": (13 * 3600 + 1800) * 1000,
        "storage_byte_hours": 2 * 10**9 * 31 * 24,
        "egress_bytes": 10**9,
    }
    lines = metered([Held(plan, Fraction(1))], MARCH, used)
    assert [(line.quantity, line.unit_price, line.amount_cents) for line in lines] == [
        ("3.5", "0.16", 56),
        ("2", "0.35", 70),
        ("1", "0.09", 9),
    ]
    assert metered([Held(plan, Fraction(1))], MARCH, {"compute_milliseconds": 36_000_000}) == []
    assert metered([Held(Plan(id="f", name="F"), Fraction(1))], MARCH, used) == []


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**9))
def test_a_decimal_reads_back(top: int, bottom: int) -> None:
    value = Fraction(top, bottom)
    assert abs(Fraction(decimal(value, 6)) - value) <= Fraction(1, 2 * 10**6)


def test_amounts_and_numbers_are_written_out() -> None:
    assert [usd(one) for one in (0, 5, -5, 123456)] == ["0.00", "0.05", "-0.05", "1234.56"]
    assert [numbered("live", 7), numbered("test", 1234567), numbered("live", None)] == [
        "INV-000007",
        "TEST-1234567",
        "DRAFT",
    ]
    assert decimal(Fraction(5, 2) / 10**6, 6) == "0.000002"
