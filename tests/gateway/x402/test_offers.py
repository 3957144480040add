"""The 402 that says what to pay, within what clients can read."""

import base64
import json
from typing import Any

import pytest

from gateway.x402 import offers, wire
from gateway.x402.offers import PaymentRequired
from gateway.x402.wire import Requirement, Resource
from tests.gateway.conftest import USDC

URL = "https://gateway.example/publishers/weather/x"
EXTENSIONS = wire.identifier_extension(is_required=False)


def header(resource: Resource, count: int) -> tuple[int, Any]:
    ways = [Requirement(USDC, 1000 + one, "0x" + "c" * 40, 300, "base-sepolia") for one in range(count)]
    text = PaymentRequired("pay", resource, ways, extensions=EXTENSIONS).headers[wire.REQUIRED]
    return len(text), json.loads(base64.b64decode(text))


@pytest.mark.parametrize(
    ("resource", "count"),
    [
        (Resource(URL, "short"), 1),
        (Resource(URL, "long " * 4000), 1),
        (Resource(URL, "ünïcödé " * 2000), 1),
        (Resource(URL, 'quoted " \\ ' * 2000), 1),
        (Resource(URL + "?q=" + "x" * 20_000, "both " * 4000), 3),
        (Resource(URL, "many"), 14),
        (Resource(URL, "many and long " * 1000), 14),
    ],
)
def test_the_header_stays_within_8_kb_and_keeps_every_offer(resource: Resource, count: int) -> None:
    length, decoded = header(resource, count)
    assert length < 8000
    assert [one["amount"] for one in decoded["accepts"]] == [str(1000 + one) for one in range(count)]
    assert decoded["resource"]["url"] in (resource.url, URL)


def test_what_fits_is_said_in_full() -> None:
    _, decoded = header(Resource(URL + "?a=1", "Weather of today"), 3)
    assert decoded["resource"]["url"] == URL + "?a=1"
    assert decoded["resource"]["description"] == "Weather of today"
    assert decoded["extensions"] == EXTENSIONS


def test_an_offer_is_kept_even_where_the_header_gets_too_long() -> None:
    length, decoded = header(Resource(URL, "many"), 40)
    assert length > offers.HEADER_BYTES_MAX
    assert len(decoded["accepts"]) == 40


def test_it_is_written_as_any_problem_would_be() -> None:
    ways = [Requirement(USDC, 1000, "0x" + "c" * 40, 300, "base-sepolia")]
    more: dict[str, Any] = {
        "deposit_url": "http://a",
        "balance": {"missing": "0.1", "none": None},
        "huge": 1 << 200,
    }
    refusal = PaymentRequired("zahl \u20ac 1", Resource(URL, "Wetter \u2028"), ways, error="said", **more)
    written = json.loads(refusal.written(), object_pairs_hook=list)
    assert written == json.loads(refusal.problem().model_dump_json(exclude_none=True), object_pairs_hook=list)
