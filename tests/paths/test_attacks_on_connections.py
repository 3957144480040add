"""What odd upstreams, odd callers and a database that flaps must not do to money, memory and others' time."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from gateway.ledger.holds import Holds
from tests.paths.conftest import DOLLAR, Farebox
from tests.waiting import SECONDS_MAX

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


async def test_an_answer_that_comes_before_the_body_has_ended_reaches_its_caller(farebox: Farebox) -> None:
    """It was charged. A connection that is closed on the rest of the body is reset, its answer with it."""
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    url = URL(await farebox.publish())

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"path": request.path})

    farebox.upstream.handler = answer
    reader, writer = await asyncio.open_connection(url.host, url.port)
    fields = f"Host: a\r\nAuthorization: Bearer {account.key}\r\n"
    rest = 400_000
    for n in range(2):
        head = f"POST {url.path}/{n} HTTP/1.1\r\n{fields}Content-Length: {rest + 9}\r\n\r\n"
        writer.write(head.encode() + b"beginning")
        answered = await asyncio.wait_for(reader.readuntil(b"}"), SECONDS_MAX)
        assert answered.startswith(b"HTTP/1.1 200")
        assert answered.endswith(b'{"path": "/%d"}' % n)
        # What the caller goes on sending is no part of its next request.
        writer.write(b"x" * rest)
    writer.close()
    assert await farebox.spent(account, DOLLAR) == 2 * QUARTER
