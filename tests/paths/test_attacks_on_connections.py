"""What odd upstreams, odd callers and a database that flaps must not do to money, memory and others' time."""

from typing import Any

import pytest
from aiohttp import web

from gateway.ledger.holds import Holds
from tests.paths.conftest import DOLLAR, Farebox

QUARTER = DOLLAR // 4


@pytest.mark.parametrize("broken", ["open", "post", "void"])
async def test_a_database_that_goes_away_takes_no_payers_key_with_it(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Paid upfront, the money is in a balance that opens with a key, which is shown once and only here."""
    url = await farebox.publish(payment_flow="upfront") + "/order"

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=500 if broken == "void" else 200)

    async def away(holds: Holds, *asked: Any) -> None:
        raise ConnectionError("the database is away")

    farebox.upstream.handler = refuse
    monkeypatch.setattr(Holds, broken, away)
    got = await farebox.pay("POST", url)
    slugs = {"open": "settlement_pending", "post": "charge-unknown", "void": None}
    assert (got.status, got.json.get("code")) == (500 if broken == "void" else 503, slugs[broken])
    headers = {"Authorization": f"Bearer {got.headers['X-Farebox-Api-Key']}"}
    balance = await farebox.agent.ask("GET", f"{farebox.origin}/wallet/balance", headers=headers)
    # What the broken one left on hold ends by itself.
    held = 0 if broken == "open" else QUARTER
    assert int(balance.json["data"]["balance_atomic"]) + held == QUARTER
    assert await farebox.is_sound()


async def test_a_path_that_is_repeated_too_often_closes_no_publisher_for_others(farebox: Farebox) -> None:
    """Anybody can ask for it, and it costs nothing, because there is no answer that could be passed on."""
    url = await farebox.publish(price_per_call="0")

    async def redirect(request: web.Request) -> web.StreamResponse:
        if len(request.path) < 100:
            return web.json_response({})
        return web.Response(status=301, headers={"Location": request.path * 8, "Link": request.path * 8})

    farebox.upstream.handler = redirect
    for _ in range(farebox.settings.upstream.breaker_failures + 1):
        got = await farebox.agent.ask("GET", f"{url}/{'a' * 6000}")
        assert (got.status, got.json["code"]) == (502, "upstream-unreachable")
    assert (await farebox.agent.ask("GET", f"{url}/x")).status == 200
