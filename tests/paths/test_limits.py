"""Who calls too often, and what an upstream is spared, in the whole product."""

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import ClientSession, web

from control.demo.chain import Chain
from gateway import unpaid
from gateway.front import reply as replying
from gateway.front.connection import Connection
from gateway.front.reply import Lines
from gateway.kit import keys
from gateway.kit.sql import Pool
from tests import valkey as valkey_server
from tests.paths.conftest import DOLLAR, Farebox, Upstream, serving, settings_of
from tests.waiting import until


@pytest.fixture
def limits() -> dict[str, Any]:
    """What a test changes in the settings."""
    return {}


@pytest.fixture
async def farebox(
    database_url: str, pool: Pool, chain: Chain, paid_token: str, upstream: Upstream, limits: dict[str, Any]
) -> AsyncIterator[Farebox]:
    """With a Valkey of its own, so that no other test has used up this address."""
    with valkey_server.running() as url:
        settings = settings_of(database_url, url, chain, paid_token)
        for section, changes in limits.items():
            changed = getattr(settings, section).model_copy(update=changes)
            settings = settings.model_copy(update={section: changed})
        async with serving(settings) as origin, ClientSession(auto_decompress=False) as session:
            yield await Farebox.opened(origin, settings, pool, session, chain, paid_token, upstream)


async def test_a_publishers_calls_a_minute_are_for_all_callers_together(farebox: Farebox) -> None:
    shop = await farebox.publish()
    publisher_id = (await farebox.agent.ask("GET", shop)).json["data"]["id"]
    changed = await farebox.agent.ask(
        "PUT",
        f"{farebox.origin}/organizations/default/publishers/{publisher_id}/pricing",
        headers=farebox.publisher.headers,
        body={"asset_id": str(farebox.asset.id), "max_queries_per_minute": 4},
    )
    assert changed.status == 200, changed.text
    await asyncio.sleep(1)
    accounts = [await farebox.sign_up() for _ in range(2)]
    for account in accounts:
        await farebox.fund(account, 10 * DOLLAR)
    # What only asks for the price uses up nobody's minute.
    for _ in range(10):
        assert (await farebox.agent.ask("GET", f"{shop}/x")).status == 402
    replies = [
        await farebox.agent.ask("GET", f"{shop}/x", headers=accounts[turn % 2].headers) for turn in range(6)
    ]
    seen = [
        (one.status, one.headers["RateLimit-Limit"], one.headers["RateLimit-Remaining"]) for one in replies
    ]
    assert seen == [(200, "4", str(left)) for left in (3, 2, 1, 0)] + [(429, "4", "0")] * 2
    assert replies[-1].json["code"] == "too-many-calls"
    assert 10 <= int(replies[-1].headers["Retry-After"]) <= 15
    assert sum([await farebox.balance(account) for account in accounts]) == 20 * DOLLAR - DOLLAR
    assert len(farebox.upstream.seen) == 4


@pytest.mark.parametrize("limits", [{"limits": {"key_calls_per_second": 0.01, "key_burst": 3}}])
async def test_a_key_has_a_limit_of_its_own(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_call="0")
    one, other = await farebox.sign_up(), await farebox.sign_up()
    statuses = [(await farebox.agent.ask("GET", f"{shop}/x", headers=one.headers)).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=other.headers)
    assert (reply.status, reply.headers["RateLimit"]) == (200, '"key";r=2;t=100')


@pytest.mark.parametrize("limits", [{"limits": {"address_calls_per_second": 0.01, "address_burst": 40}}])
async def test_a_flood_of_wrong_keys_is_stopped_before_the_database_is_asked(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_call="0")
    wrong = {"Authorization": f"Bearer {keys.new('test')}"}
    statuses = [(await farebox.agent.ask("GET", f"{shop}/x", headers=wrong)).status for _ in range(60)]
    assert statuses.count(401) <= 40
    assert statuses[-20:] == [429] * 20
    managed = [
        (await farebox.agent.ask("GET", f"{farebox.origin}/wallet/balance", headers=wrong)).status
        for _ in range(60)
    ]
    assert managed[-20:] == [429] * 20


@pytest.mark.parametrize("limits", [{"limits": {"signups_per_minute": 1, "signup_burst": 5}}])
async def test_accounts_are_not_opened_by_the_hundred(farebox: Farebox) -> None:
    # The fixture opened one.
    replies = [await farebox.agent.ask("POST", f"{farebox.origin}/auth/agent", body={}) for _ in range(100)]
    assert [reply.status for reply in replies] == [201] * 4 + [429] * 96
    assert 30 <= int(replies[-1].headers["Retry-After"]) <= 60


FEW = {"address_calls_per_second": 0.01, "address_burst": 20}


@pytest.mark.parametrize(
    "limits", [{"listen": {"trusted_proxies": (ip_network("127.0.0.0/8"),)}, "limits": FEW}, {"limits": FEW}]
)
async def test_clients_behind_a_trusted_proxy_are_limited_apart(
    farebox: Farebox, limits: dict[str, Any]
) -> None:
    is_trusted = "listen" in limits
    shop = await farebox.publish(price_per_call="0")
    one = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}
    other = {"X-Forwarded-For": "203.0.113.7, 203.0.113.8:4711"}
    busy = [(await farebox.agent.ask("GET", f"{shop}/x", headers=one)).status for _ in range(30)]
    assert busy[-9:] == [429] * 9
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=other)
    assert reply.status == (200 if is_trusted else 429)
    # An upstream is told who called, and never what callers claim.
    seen = {(ask.headers["X-Forwarded-For"], ask.headers.get("Forwarded")) for ask in farebox.upstream.seen}
    assert seen == ({("203.0.113.7", None), ("203.0.113.8", None)} if is_trusted else {("127.0.0.1", None)})
    balance = f"{farebox.origin}/wallet/balance"
    managed = [(await farebox.agent.ask("GET", balance, headers=one)).status for _ in range(30)]
    assert managed[-9:] == [429] * 9
    reply = await farebox.agent.ask("GET", balance, headers=other)
    assert reply.status == (401 if is_trusted else 429)


@pytest.mark.parametrize("limits", [{"upstream": {"breaker_failures": 3, "breaker_seconds": 3}}])
async def test_an_upstream_that_is_gone_is_left_alone_and_nothing_is_taken(farebox: Farebox) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
        shop = await farebox.publish(api_url=dead)
        account = await farebox.sign_up()
        await farebox.fund(account, DOLLAR)
        replies = [await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers) for _ in range(5)]
        assert [reply.status for reply in replies] == [502, 502, 502, 503, 503]
        assert (replies[-1].json["code"], int(replies[-1].headers["Retry-After"]) in (1, 2, 3)) == (
            "upstream-resting",
            True,
        )
        holds = await farebox.pool.fetchval("SELECT count(*) FROM holds")
        # Nobody is even asked to pay for what cannot be served.
        assert (await farebox.agent.ask("GET", f"{shop}/x")).status == 503
        assert await farebox.balance(account) == DOLLAR
        assert (holds, await farebox.pool.fetchval("SELECT count(*) FROM holds")) == (3, 3)

        async def is_tried_again() -> bool:
            return (await farebox.agent.ask("GET", f"{shop}/x")).status == 402

        await until(is_tried_again)
        assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 502
        assert (await farebox.agent.ask("GET", f"{shop}/x")).status == 503


@pytest.mark.parametrize("limits", [{"upstream": {"calls_per_publisher": 2}}])
async def test_calls_at_once_are_bounded_before_anything_is_paid(farebox: Farebox) -> None:
    go_on = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        await go_on.wait()
        return web.Response(text="ok")

    farebox.upstream.handler = wait
    shop, other = await farebox.publish(), await farebox.publish("other", price_per_call="0")
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(farebox.agent.ask("GET", f"{shop}/x", headers=account.headers))
            for _ in range(2)
        ]
        while len(farebox.upstream.seen) < 2:  # noqa: ASYNC110 - the upstream has no event to wait for
            await asyncio.sleep(0.02)
        refused = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
        assert (refused.status, refused.json["code"]) == (503, "upstream-busy")
        elsewhere = group.create_task(farebox.agent.ask("GET", f"{other}/x"))
        await asyncio.sleep(0.2)
        go_on.set()
    assert [call.result().status for call in (*calls, elsewhere)] == [200, 200, 200]
    assert await farebox.balance(account) == DOLLAR // 2


async def test_paid_calls_go_on_while_valkey_is_away(
    database_url: str, pool: Pool, chain: Chain, paid_token: str, upstream: Upstream
) -> None:
    with valkey_server.running() as url:
        settings = settings_of(database_url, url, chain, paid_token)
        context = serving(settings)
        origin = await context.__aenter__()
        session = ClientSession(auto_decompress=False)
        farebox = await Farebox.opened(origin, settings, pool, session, chain, paid_token, upstream)
        shop = await farebox.publish()
        account = await farebox.sign_up()
        await farebox.fund(account, 10 * DOLLAR)
        assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    try:
        async with asyncio.timeout(15):
            replies = [
                await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers) for _ in range(10)
            ]
        assert [reply.status for reply in replies] == [200] * 10
        assert "degraded" in (await farebox.agent.ask("GET", f"{origin}/readyz")).text
        assert await farebox.balance(account) == 10 * DOLLAR - 11 * DOLLAR // 4
    finally:
        await session.close()
        await context.__aexit__(None, None, None)


@pytest.mark.parametrize(
    "limits",
    [
        {
            "limits": {"address_calls_per_second": 0.01, "address_burst": 400},
            "upstream": {"breaker_failures": 1, "breaker_seconds": 0.5},
        }
    ],
)
async def test_strangers_who_ask_again_are_told_the_price_within_the_limits(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def put_again(connection: Connection, lines: Lines, more: str, body: bytes) -> None:
        told.append(more)
        replying.put_again(connection, lines, more, body)

    monkeypatch.setattr(unpaid, "put_again", put_again)
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    ask = farebox.agent.ask
    first, *others = [await ask("GET", f"{shop}/x") for _ in range(40)]
    assert {(one.status, one.text, one.headers["PAYMENT-REQUIRED"]) for one in others} == {
        (402, first.text, first.headers["PAYMENT-REQUIRED"])
    }
    assert len({one.headers["X-Farebox-Call-Id"] for one in others}) == 39
    left = [int(one.headers["RateLimit-Remaining"]) for one in others]
    assert left[0] > left[-1]
    assert len(told) > 20
    # Something else is published, and many ask at once: they are told at first what it costs, and then again.
    await farebox.publish(slug="other")
    await asyncio.gather(*(ask("GET", f"{shop}/x") for _ in range(10)))
    told.clear()
    assert [(await ask("GET", f"{shop}/x")).status for _ in range(10)] == [402] * 10
    assert len(told) > 5
    # The upstream fails, and nobody is asked to pay for what cannot be served.
    farebox.upstream.handler = failing
    assert (await ask("GET", f"{shop}/x", headers=account.headers)).status == 503
    assert [(await ask("GET", f"{shop}/x")).status for _ in range(3)] == [503] * 3
    await asyncio.sleep(0.6)
    farebox.upstream.handler = None
    assert (await ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    assert [(await ask("GET", f"{shop}/x")).status for _ in range(3)] == [402] * 3
    head = await ask("HEAD", f"{shop}/x")
    assert (head.status, head.text) == (402, "")
    statuses = [(await ask("GET", f"{shop}/x")).status for _ in range(400)]
    assert statuses == sorted(statuses)
    assert statuses[-1] == 429


async def failing(request: web.Request) -> web.Response:
    return web.Response(status=503)
