"""``farebox up`` as an operator runs it: processes, memory, and what a crash leaves."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web

from control.agent.client import Agent
from control.demo import cast
from control.demo.chain import Chain
from gateway.kit.sql import create_pool
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Farebox, Upstream, settings_of
from tests.waiting import until

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Up:
    farebox: Farebox
    metrics: str


@pytest.fixture
async def up(
    chain: Chain, paid_token: str, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Up]:
    directory = tmp_path_factory.mktemp("data")
    settings = settings_of("unused", None, chain, paid_token)
    (network,) = settings.networks
    plain: dict[str, Any] = network.model_dump(mode="json", exclude_none=True)
    [plain["facilitator_key"]] = network.keys
    async with cast.product(str(directory), plain, workers=2) as product, ClientSession() as session:
        dsn = (directory / "run" / "dsn").read_text().strip()
        async with create_pool(dsn, size_max=4) as pool:
            farebox = await Farebox.opened(
                product.origin, settings, pool, session, chain, paid_token, upstream
            )
            yield Up(farebox, product.metrics)


async def test_a_gigabyte_passes_through_a_worker_that_stays_small(up: Up) -> None:
    farebox = up.farebox

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1024):
            await response.write(b"x" * MEGABYTE)
        return response

    shop = await farebox.publish(price_per_call="0")
    await served_everywhere(farebox, shop)
    before = {pid: resident_bytes(pid) for pid in workers(farebox)}
    farebox.upstream.handler = flood
    total = 0
    async with farebox.session.get(f"{shop}/flood") as response:
        async for chunk in response.content.iter_any():
            total += len(chunk)
    assert total == 1024 * MEGABYTE
    grown = [resident_bytes(pid) - before[pid] for pid in workers(farebox)]
    assert max(grown) < 32 * MEGABYTE


async def test_a_killed_worker_loses_no_acknowledged_charge_and_doubles_none(up: Up) -> None:
    farebox = up.farebox
    shop = await farebox.publish(price_per_call="0.01")
    await served_everywhere(farebox, shop)
    account = await farebox.sign_up()
    await farebox.fund(account, 1000 * DOLLAR)
    acknowledged, is_over = 0, False

    async def call() -> None:
        nonlocal acknowledged
        while not is_over:
            try:
                reply = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
            except ClientError:
                # The worker of this connection was killed; another takes the next one.
                await asyncio.sleep(0.05)
                continue
            acknowledged += reply.status == 200

    async def some_more_are() -> None:
        enough = acknowledged + 40

        async def is_enough() -> bool:
            return acknowledged >= enough

        await until(is_enough, 30)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(call())
        for _ in range(2):
            await some_more_are()
            os.kill(workers(farebox)[0], signal.SIGKILL)
        await some_more_are()
        is_over = True
    await until(lambda: is_ready(farebox), 20)
    await until(lambda: is_booked(farebox), 20)
    charged = await farebox.pool.fetchval(
        "SELECT coalesce(sum(calls), 0) FROM transfers WHERE kind = 'charge'"
    )
    # A charge whose answer the kill cut off was still a call that was served.
    assert acknowledged <= charged <= len(farebox.upstream.seen)
    assert await Ledger(farebox.pool).is_sound()
    posted, held = await Ledger(farebox.pool).balance(account.organization_id, farebox.asset)
    assert posted == 1000 * DOLLAR - charged * DOLLAR // 100
    open_holds = await farebox.pool.fetchval("SELECT count(*) FROM holds WHERE state = 'open'")
    purses = await farebox.pool.fetchval("SELECT coalesce(sum(amount), 0) FROM purses")
    assert held == open_holds * DOLLAR // 100 + purses


async def is_booked(farebox: Farebox) -> bool:
    """What the one that was killed had written and not booked."""
    return bool(await farebox.pool.fetchval("SELECT NOT EXISTS (SELECT FROM slips)"))


async def test_metrics_are_one_scrape_for_all_workers(up: Up) -> None:
    farebox = up.farebox
    shop = await farebox.publish(price_per_call="0")
    await served_everywhere(farebox, shop)
    for _ in range(10):
        async with ClientSession() as other:
            assert (await Agent(other, b"").ask("GET", f"{shop}/x")).status == 200

    async def are_counted() -> bool:
        text = (await farebox.agent.ask("GET", up.metrics)).text
        counted = [
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("farebox_calls_total{")
            and 'publisher="shop"' in line
            and 'outcome="free"' in line
        ]
        return sum(counted) == 10

    # The last is counted a moment after its last byte.
    await until(are_counted)


async def is_ready(farebox: Farebox) -> bool:
    try:
        return (await farebox.agent.ask("GET", f"{farebox.origin}/readyz")).status == 200 and len(
            workers(farebox)
        ) == 2
    except ClientError:
        return False


async def served_everywhere(farebox: Farebox, shop: str) -> None:
    """One worker serving it says nothing of the other, which hears of it within a second."""
    await asyncio.sleep(1)
    assert await farebox.is_served(shop)


def workers(farebox: Farebox) -> list[int]:
    """The processes that serve the port."""
    return titled(farebox, "worker")


def titled(farebox: Farebox, name: str) -> list[int]:
    """The processes of that name, which ps shows with their port."""
    port = farebox.origin.rpartition(":")[2]
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = entry.read_bytes().strip(b"\0 ").decode()
        except OSError:
            continue
        if title.startswith(f"farebox: {name}") and title.endswith(f", port {port}"):
            found.append(int(entry.parent.name))
    return sorted(found)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
