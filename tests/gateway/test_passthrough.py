"""The gateway's fee for a call that its upstream is paid for too."""

from dataclasses import replace
from fractions import Fraction
from uuid import UUID

import pytest

from gateway.kit.problem import Invalid
from gateway.match import match
from gateway.options import Passthrough
from gateway.passthrough import passthrough_of
from gateway.price import NotForSale, fees, price
from gateway.upstream_payment import Bill, UpstreamPayment
from tests.gateway.conftest import USDC
from tests.gateway.routes import endpoint, inbound, pricing, route, snapshot

V2 = Bill(USDC.network, USDC.address, 1001)


def fee(percent: str, prices: dict[str, int], bill: Bill, own: int | None = None) -> int | None:
    passthrough = passthrough_of({"billing_model": "x402_passthrough", "gateway_fee_percent": percent})
    documented = [endpoint("GET", "/now")] if own is not None else []
    listed = pricing(prices, {} if own is None else {0: own})
    asked = inbound("/now")
    matched = match(snapshot(route(*documented, pricing=(listed,), passthrough=passthrough)), asked)
    found = fees(matched, "GET", bill)
    return None if found is None else sum(one.ceiling for one in found)


@pytest.mark.parametrize(
    ("percent", "prices", "bill", "own", "amount"),
    [
        ("0", {}, V2, None, 0),
        ("10", {}, V2, None, 101),                               # rounded up
        ("0.000001", {}, V2, None, 1),
        ("100", {}, V2, None, 1001),
        ("10", {"price_per_call": 5}, V2, None, 106),
        ("10", {"price_per_call": 5}, V2, 7, 108),
        ("10", {"price_per_call": 5}, V2, 0, 101),
        ("10", {"max_charge": 50}, V2, None, 50),
        ("10", {"min_charge": 500}, V2, None, 500),
        ("0", {"min_charge": 500}, V2, None, 0),                 # free stays free
        ("10", {"max_queries_per_minute": 5}, V2, None, 101),    # no price
        ("10", {"price_per_call": 5}, replace(V2, amount=0), None, 5),
        ("10", {}, replace(V2, network="base-sepolia", asset=None), None, 101),
        ("10", {}, replace(V2, asset=USDC.address.upper().replace("0X", "0x")), None, 101),
        ("10", {}, replace(V2, network="eip155:1"), None, None),
        ("10", {}, replace(V2, asset="0x" + "00" * 20), None, None),
        ("10", {}, replace(V2, amount=None), None, None),
        ("0", {"price_per_call": 5}, Bill("solana:x", "So1", None), None, 5),
        ("10", {}, replace(V2, amount=10**38), None, 10**37),
    ],
)  # fmt: skip
def test_a_fee_is_what_is_listed_and_a_share(
    percent: str, prices: dict[str, int], bill: Bill, own: int | None, amount: int | None
) -> None:
    assert fee(percent, prices, bill, own) == amount


def test_a_gap_in_a_price_list_gives_nothing_away() -> None:
    with pytest.raises(NotForSale):
        fee("10", {"price_per_post": 5}, V2)


def test_a_share_is_taken_in_each_asset_unit_for_unit() -> None:
    fine = replace(USDC, id=UUID(int=99), address="0x" + "9" * 40, decimals=18)
    coarse = replace(USDC, id=UUID(int=98), address="0x" + "8" * 40, decimals=2)
    listed = tuple(replace(pricing({}), asset=one) for one in (USDC, fine, coarse))
    asked = inbound("/now")
    matched = match(snapshot(route(pricing=listed, passthrough=Passthrough(Fraction(1, 10)))), asked)
    found = fees(matched, "GET", V2)
    assert found is not None
    assert [one.ceiling for one in found] == [101, 1001 * 10**11, 1]
    # Version 1 names no asset, and these differ.
    assert fees(matched, "GET", replace(V2, asset=None)) is None


def test_asking_for_the_price_is_free_and_connections_are_not_sold() -> None:
    one = route(pricing=(pricing({"price_per_call": 5}),), passthrough=Passthrough(Fraction(0)))
    asked = inbound("/now")
    matched = match(snapshot(one), asked)
    assert price(matched, asked).is_free
    paid = replace(asked, upstream_payment=UpstreamPayment("X-PAYMENT", "", V2, bytes(32)))
    assert [found.ceiling for found in price(matched, paid).prices] == [5]
    with pytest.raises(NotForSale):
        price(matched, replace(asked, is_websocket=True))
    with pytest.raises(Invalid):
        price(match(snapshot(route(prices={"price_per_call": 5})), asked), paid)
