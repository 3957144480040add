"""Each neighbour of the gateway misbehaves in each way: the money is right, and nothing hangs."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from control.agent.client import Reply
from control.demo.chain import Chain
from control.roles.base import based
from gateway.kit import groups, pools
from gateway.kit.sql import Pool
from gateway.ledger import slips
from gateway.x402 import remote, rpc
from tests.faults import Fault, FaultProxy, between
from tests.gateway.conftest import Ledger
from tests.paths import test_remote_facilitator
from tests.paths.conftest import DOLLAR, Account, Farebox, Upstream, serving, settings_of
from tests.paths.test_remote_facilitator import Official
from tests.waiting import until

Neighbour = Literal["postgres", "valkey", "upstream", "rpc", "facilitator"]

# What a caller waits for at most while that neighbour is broken, as gateway/README.md has it, but for what is
# ten seconds there and three here, and two seconds for a slow machine. Upstream and settlement are given two.
PATIENCE_SECONDS = 3
DEADLINES_SECONDS: dict[Neighbour, float] = {
    "postgres": 7
    + PATIENCE_SECONDS
    + 2
    + 2
    + 2,  # one statement, and the upstream and the settlement before it
    "valkey": 1 + 2 + 2 + 2,
    "upstream": 2 + 2 + 2,
    "rpc": PATIENCE_SECONDS + 2 + 2 + 2,  # one question, the upstream, the settlement
    "facilitator": PATIENCE_SECONDS + 2 + 2 + 2,
}
# Where those ten seconds are.
PATIENT = (
    (pools, "TIMEOUT_SECONDS"),
    (groups, "TIMEOUT_SECONDS"),
    (rpc, "TIMEOUT_SECONDS"),
    (remote, "CHECK_SECONDS"),
)
DEADLINE_SECONDS = max(DEADLINES_SECONDS.values())
PRICE = DOLLAR // 100

official = test_remote_facilitator.official


def test_a_neighbour_that_is_silent_is_waited_for_ten_seconds() -> None:
    assert {getattr(module, name) for module, name in PATIENT} == {10}


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in PATIENT:
        monkeypatch.setattr(module, name, PATIENCE_SECONDS)


@dataclass(slots=True)
class Besieged:
    farebox: Farebox
    proxies: dict[Neighbour, FaultProxy]


@pytest.fixture
async def besieged(
    request: pytest.FixtureRequest,
    server: str,
    database: str,
    pool: Pool,
    valkey: str,
    chain: Chain,
    paid_token: str,
    upstream: Upstream,
    official: tuple[Official, str],
    _impatient: None,
) -> AsyncIterator[Besieged]:
    """Every connection of the gateway passes through a proxy; the test's own do not."""
    async with AsyncExitStack() as stack:
        targets: dict[Neighbour, tuple[str, int] | str] = {
            "postgres": f"{server.partition('host=')[2]}/.s.PGSQL.5432",
            "valkey": valkey.removeprefix("unix://"),
            "upstream": address(upstream.url),
            "rpc": address(chain.rpc_url),
            "facilitator": address(official[1]),
        }
        proxies = {name: await stack.enter_async_context(between(one)) for name, one in targets.items()}
        network: dict[str, Any] = {
            "rpc_url": f"http://127.0.0.1:{proxies['rpc'].port}",
            "settle_timeout_seconds": 2,
        }
        if request.node.name.startswith("test_a_fault_costs_nobody_money[facilitator"):
            network["facilitator_key"] = None
            network["facilitator_url"] = f"http://127.0.0.1:{proxies['facilitator'].port}"
        settings = settings_of(
            f"postgresql://postgres@127.0.0.1:{proxies['postgres'].port}/{database}",
            f"redis://127.0.0.1:{proxies['valkey'].port}",
            chain,
            paid_token,
            network=network,
            upstream={"total_timeout_seconds": 2, "breaker_seconds": 1},
        )
        origin = await stack.enter_async_context(serving(settings))
        session = await stack.enter_async_context(ClientSession())
        direct = upstream.url
        upstream.url = f"http://127.0.0.1:{proxies['upstream'].port}"
        farebox = await Farebox.opened(origin, settings, pool, session, chain, paid_token, upstream)
        yield Besieged(farebox, proxies)
        upstream.url = direct


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


FAULTS: tuple[Fault, ...] = ("latency", "reset", "half_close", "dropped_answer", "blackhole", "refused")
NEIGHBOURS: tuple[Neighbour, ...] = ("postgres", "valkey", "upstream", "rpc", "facilitator")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
async def test_a_fault_costs_nobody_money(besieged: Besieged, neighbour: Neighbour, fault: Fault) -> None:
    farebox, proxy = besieged.farebox, besieged.proxies[neighbour]
    shop = await farebox.publish(price_per_call="0.01")
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    url = f"{shop}/x"
    challenges = [await farebox.agent.ask("GET", url) for _ in range(3)]
    payments = [{"PAYMENT-SIGNATURE": farebox.agent.sign(one)} for one in challenges]

    begin = time.monotonic()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(end(farebox, url, account.headers)) for _ in range(10)]
        calls += [group.create_task(end(farebox, url, payment)) for payment in payments]
        await asyncio.sleep(0.02)
        proxy.break_by(fault)
        calls += [group.create_task(end(farebox, url, account.headers)) for _ in range(5)]
    # All have ended while their neighbour was still broken.
    assert time.monotonic() - begin < DEADLINES_SECONDS[neighbour]
    await proxy.heal()
    statuses = Counter(call.result().status for call in calls)
    assert statuses.keys() <= {200, 402, 409, 502, 503, 504}, statuses

    await until(lambda: answers(farebox, url, account), 15)
    await until(lambda: is_settled(farebox), 15)
    await money_is_right(farebox, account, calls, payments)


async def end(farebox: Farebox, url: str, headers: dict[str, str]) -> Reply:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await farebox.agent.ask("GET", url, headers=headers)


async def answers(farebox: Farebox, url: str, account: Account) -> bool:
    return (await end(farebox, url, account.headers)).status == 200


async def is_settled(farebox: Farebox) -> bool:
    """Nothing is under way any more: what a caller saw as pending is found out by asking again."""
    count = """
        SELECT (SELECT count(*) FROM payments WHERE state = 'submitted') + (SELECT count(*) FROM slips)
    """
    if await farebox.pool.fetchval(count) == 0:
        return True
    async with based(farebox.settings, farebox.origin) as base:
        await base.settlements.reconcile(timedelta(0))
        await slips.book_left_over(base.pool)
    return False


async def money_is_right(
    farebox: Farebox, account: Account, calls: list[asyncio.Task[Reply]], payments: list[dict[str, str]]
) -> None:
    ledger = Ledger(farebox.pool)
    assert await ledger.is_sound()
    charged = "SELECT coalesce(sum(calls), 0) FROM transfers WHERE kind = 'charge'"
    served = sum(call.result().status == 200 for call in calls)
    total = await farebox.pool.fetchval(charged)
    # Every answer was paid for, and nothing was charged that the upstream was not asked for.
    assert served <= total <= len(farebox.upstream.seen)
    on_chain = await farebox.chain.balance(farebox.token, farebox.platform_wallet)
    settled = await farebox.pool.fetchval("SELECT count(*) FROM payments WHERE state = 'settled'")
    assert on_chain == settled * PRICE
    assert settled <= len(payments)
    posted, held = await ledger.balance(account.organization_id, farebox.asset)
    assert posted == DOLLAR - (total - settled) * PRICE
    open_holds = await farebox.pool.fetchval("SELECT count(*) FROM holds WHERE state = 'open'")
    purses = await farebox.pool.fetchval("SELECT coalesce(sum(amount), 0) FROM purses")
    assert held == open_holds * PRICE + purses


async def test_connections_to_the_database_that_die_unheard_are_replaced(besieged: Besieged) -> None:
    """A firewall forgets them: nobody closes them, and nothing comes through. New ones would work."""
    farebox, proxy = besieged.farebox, besieged.proxies["postgres"]
    shop = await farebox.publish(price_per_call="0.01")
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    url = f"{shop}/x"
    async with asyncio.TaskGroup() as group:
        # So many that the pool has all of its connections.
        for _ in range(20):
            group.create_task(farebox.agent.ask("GET", f"{farebox.origin}/wallet", headers=account.headers))
    begin = time.monotonic()
    proxy.lose_all()
    calls = await asyncio.gather(*(end(farebox, url, account.headers) for _ in range(5)))
    assert {call.status for call in calls} <= {200, 503}
    await until(lambda: answers(farebox, url, account), 15)
    assert time.monotonic() - begin < 20
    # Also the connection that hears of changes, and what is published meanwhile.
    await farebox.publish("other")
    ledger = Ledger(farebox.pool)
    assert await ledger.is_sound()
