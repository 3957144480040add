import pytest

from gateway.match import match
from gateway.price import NotForSale, price
from tests.gateway.conftest import EURC
from tests.gateway.routes import endpoint, inbound, pricing, route, snapshot


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
