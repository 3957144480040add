"""Each neighbour of the gateway misbehaves in each way: the money is right, and nothing hangs."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from aiohttp import ClientSession

from control import roles
from control.agent.client import Agent, Reply
from control.demo.chain import Chain
from gateway.kit.sql import Pool
from tests.faults import Fault, FaultProxy, between
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Account, Farebox, Upstream, serving, settings_of, until

Neighbour = Literal["postgres", "valkey", "upstream", "rpc"]

# What a caller waits for at most: the upstream's two seconds and the database's five, and a slow machine.
DEADLINE_SECONDS = 20
PRICE = DOLLAR // 100


@dataclass(slots=True)
class Besieged:
    farebox: Farebox
    proxies: dict[Neighbour, FaultProxy]


@pytest.fixture
async def besieged(
    server: str, database: str, pool: Pool, valkey: str, chain: Chain, paid_token: str, upstream: Upstream
) -> AsyncIterator[Besieged]:
    """Every connection of the gateway passes through a proxy; the test's own do not."""
    async with AsyncExitStack() as stack:
        targets: dict[Neighbour, tuple[str, int] | str] = {
            "postgres": f"{server.partition('host=')[2]}/.s.PGSQL.5432",
            "valkey": valkey.removeprefix("unix://"),
            "upstream": address(upstream.url),
            "rpc": address(chain.rpc_url),
        }
        proxies = {name: await stack.enter_async_context(between(one)) for name, one in targets.items()}
        settings = settings_of(
            f"postgresql://postgres@127.0.0.1:{proxies['postgres'].port}/{database}",
            f"redis://127.0.0.1:{proxies['valkey'].port}",
            chain,
            paid_token,
            network={"rpc_url": f"http://127.0.0.1:{proxies['rpc'].port}", "settle_timeout_seconds": 2},
            upstream={"total_timeout_seconds": 2},
        )
        origin = await stack.enter_async_context(serving(settings))
        session = await stack.enter_async_context(ClientSession())
        payer = chain.accounts[2]
        direct = upstream.url
        upstream.url = f"http://127.0.0.1:{proxies['upstream'].port}"
        farebox = Farebox(
            origin, settings, pool, session, chain, paid_token, upstream, Agent(session, bytes(payer.key)),
            payer.address.lower(), chain.accounts[3].address, Account(UUID(int=0), ""),
        )  # fmt: skip
        farebox.publisher = await farebox.sign_up()
        yield Besieged(farebox, proxies)
        upstream.url = direct


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


FAULTS: tuple[Fault, ...] = ("latency", "reset", "half_close", "dropped_answer", "blackhole", "refused")
NEIGHBOURS: tuple[Neighbour, ...] = ("postgres", "valkey", "upstream", "rpc")


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

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(end(farebox, url, account.headers)) for _ in range(10)]
        calls += [group.create_task(end(farebox, url, payment)) for payment in payments]
        await asyncio.sleep(0.02)
        proxy.break_by(fault)
        calls += [group.create_task(end(farebox, url, account.headers)) for _ in range(5)]
        if neighbour == "postgres":
            # A database that answers nothing is waited for longer than a test can wait.
            await asyncio.sleep(2)
            await proxy.heal()
    # All others have ended while their neighbour was still broken.
    await proxy.heal()
    statuses = Counter(call.result().status for call in calls)
    assert statuses.keys() <= {200, 402, 409, 500, 502, 503, 504}, statuses

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
    count = "SELECT count(*) FROM payments WHERE state = 'submitted'"
    if await farebox.pool.fetchval(count) == 0:
        return True
    async with roles.based(farebox.settings, farebox.origin) as base:
        await base.settlements.reconcile(timedelta(0))
    return False


async def money_is_right(
    farebox: Farebox, account: Account, calls: list[asyncio.Task[Reply]], payments: list[dict[str, str]]
) -> None:
    ledger = Ledger(farebox.pool)
    assert await ledger.is_sound()
    charged = "SELECT count(*) FROM transfers WHERE kind = 'charge'"
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
    assert held == open_holds * PRICE
