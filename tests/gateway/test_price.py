from dataclasses import replace
from fractions import Fraction

import pytest

from gateway import cost
from gateway.match import match
from gateway.price import NotForSale, price
from gateway.tariffs import Tariff, Tier, Used
from gateway.types import Price
from tests.gateway.conftest import EURC, USDC
from tests.gateway.routes import PUBLISHER, endpoint, inbound, pricing, route, snapshot


@pytest.mark.parametrize(
    ("prices", "own", "method", "cost"),
    [
        # price list, the endpoint's own price, method, what it costs (0 is free, None is not for sale)
        ({}, None, "GET", 0),
        ({"price_per_call": 500}, None, "GET", 500),
        ({"price_per_call": 500}, None, "OPTIONS", 500),
        ({"price_per_call": 500, "price_per_get": 100}, None, "GET", 100),
        ({"price_per_call": 500, "price_per_get": 100}, None, "HEAD", 100),
        ({"price_per_call": 500, "price_per_get": 100}, None, "POST", 500),
        ({"price_per_get": 100}, None, "POST", None),  # a gap gives nothing away
        ({"price_per_get": 100}, 700, "GET", 700),
        ({"price_per_get": 100}, 0, "GET", 0),
        ({"price_per_get": 0, "price_per_post": 5}, None, "GET", 0),
        ({"price_per_get": 100, "min_charge": 300}, None, "GET", 300),
        ({"price_per_get": 900, "max_charge": 300}, None, "GET", 300),
        ({"price_per_get": 0, "min_charge": 300}, None, "GET", 0),  # free stays free
        ({}, 700, "GET", 700),
    ],
)
def test_price(prices: dict[str, int], own: int | None, method: str, cost: int | None) -> None:
    documented = [endpoint("GET", "/now")] if own is not None else []
    offered = route(*documented, pricing=(pricing(prices, {} if own is None else {0: own}),))
    asked = inbound("/now", method)
    matched = match(snapshot(offered), asked)
    if cost is None:
        with pytest.raises(NotForSale):
            price(matched, asked)
        return
    assert sum(one.ceiling for one in price(matched, asked).prices) == cost


def test_a_method_priced_only_at_one_endpoint_is_not_free_elsewhere() -> None:
    offered = route(endpoint("GET", "/now"), pricing=(pricing({}, {0: 700}),))
    asked = inbound("/else")
    with pytest.raises(NotForSale):
        price(match(snapshot(offered), asked), asked)


def test_each_accepted_asset_has_its_price() -> None:
    other = pricing({"price_per_call": 9})
    offered = route(pricing=(pricing({"price_per_call": 5}), other))
    asked = inbound()
    found = price(match(snapshot(offered), asked), asked)
    assert [one.ceiling for one in found.prices] == [5, 9]
    assert EURC.decimals == 6


BY_BYTE = Tariff(per_byte=Fraction(1, 2))
BY_TIME = Tariff(per_second=Fraction(1, 3))
REPORTED = Tariff(is_reported=True, path=("cost",), per_reported=Fraction(10**6))
TIERED = Tariff(tiers=(Tier(2, 70), Tier(4, 50), Tier(None, 30)))


@pytest.mark.parametrize(
    ("prices", "tariff", "is_websocket", "ceiling"),
    [
        # price list, tariff, WebSocket, what is held (None is not for sale)
        ({}, BY_BYTE, False, None),  # no bound
        ({"max_charge": 900}, BY_BYTE, False, 900),
        ({"max_charge": 900, "reserve_max_charge": 400}, BY_BYTE, False, 400),
        ({"max_charge": 900, "price_per_post": 5}, BY_BYTE, False, None),  # a gap gives nothing away
        ({"price_per_get": 5}, BY_TIME, False, 5 + 1200),  # the longest call there is
        ({}, TIERED, False, 70),
        ({}, REPORTED, False, None),
        ({"price_per_get": 5}, REPORTED, False, 5),
        ({"reserve_max_charge": 400}, REPORTED, False, 400),
        # A connection is held piece by piece, and what cannot be read in it is not sold.
        ({"price_per_get": 5}, BY_BYTE, True, 5 + (1 << 19)),
        ({"price_per_get": 5, "reserve_max_charge": 400}, BY_BYTE, True, 405),
        ({"price_per_get": 5, "reserve_max_charge": 400}, BY_TIME, True, 405),
        ({"price_per_get": 5, "reserve_max_charge": 4}, BY_TIME, True, 5 + 30),
        ({"reserve_max_charge": 400}, REPORTED, True, None),
        ({"price_per_get": 5}, REPORTED, True, 5),
    ],
)
def test_what_is_held_when_the_cost_is_known_afterwards(
    prices: dict[str, int], tariff: Tariff, is_websocket: bool, ceiling: int | None
) -> None:
    counted = None if tariff.is_reported else tariff
    offered = route(pricing=(replace(pricing(prices), tariff=tariff, connection_tariff=counted),))
    asked = replace(inbound(), is_websocket=is_websocket)
    matched = match(snapshot(offered), asked)
    if ceiling is None:
        with pytest.raises(NotForSale):
            price(matched, asked)
        return
    (found,) = price(matched, asked).prices
    assert (found.ceiling, found.is_onchain_enabled) == (ceiling, found.tariff is None)


@pytest.mark.parametrize(
    ("tariff", "used", "charged"),
    [
        (BY_BYTE, Used(byte_count=0), 10),
        (BY_BYTE, Used(byte_count=1), 11),  # half a unit is one
        (BY_BYTE, Used(byte_count=1000), 100),  # no more than is held
        (BY_TIME, Used(milliseconds=3001), 12),
        (REPORTED, Used(reported=Fraction(20, 10**6)), 20),
        (REPORTED, Used(reported=Fraction(1, 10**12)), 5),  # min_charge
        (REPORTED, Used(), 10),  # the price of a call
        (replace(REPORTED, fallback=40), Used(), 40),
        (TIERED, Used(place=2), 70),
        (TIERED, Used(place=3), 50),
        (TIERED, Used(place=5), 30),
    ],
)
def test_what_is_charged_afterwards(tariff: Tariff, used: Used, charged: int) -> None:
    one = Price(USDC, 100, PUBLISHER, is_prepaid_enabled=True, is_onchain_enabled=False, base=10, floor=5)
    assert cost.actual(replace(one, tariff=tariff), used) == charged


def test_a_gap_is_filled_with_all_that_was_held() -> None:
    one = Price(USDC, 100, PUBLISHER, is_prepaid_enabled=True, is_onchain_enabled=False, tariff=REPORTED)
    assert cost.actual(one, Used()) == 100
