"""Processes end and are replaced under load, and no call fails."""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientError, ClientSession, TCPConnector, web

from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Account, Farebox, until
from tests.paths.test_processes import Up, is_ready, served_everywhere, up, workers  # noqa: F401


@dataclass(slots=True)
class Load:
    """Callers who pay, on kept connections and on new ones, until told to stop."""

    farebox: Farebox
    account: Account
    url: str
    is_over: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    async def run(self, callers: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self.call(is_kept=number % 2 == 0))

    async def call(self, *, is_kept: bool) -> None:
        async with ClientSession(connector=TCPConnector(force_close=not is_kept)) as session:
            # aiohttp repeats what failed on a kept connection, which would hide just what is looked for.
            session._retry_connection = False
            while not self.is_over:
                try:
                    async with session.post(
                        self.url, data=b"x" * 2000, headers=self.account.headers
                    ) as reply:
                        await reply.read()
                        self.counts[str(reply.status)] += 1
                except ClientConnectorError:
                    self.counts["refused"] += 1
                    await asyncio.sleep(0.05)
                except (ClientError, OSError) as error:
                    self.counts[repr(error)] += 1


async def loaded(farebox: Farebox) -> Load:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(0.02)
        return web.Response(text="ok")

    farebox.upstream.handler = answer
    shop = await farebox.publish(price_per_call="0.01")
    await served_everywhere(farebox, shop)
    account = await farebox.sign_up()
    await farebox.fund(account, 1000 * DOLLAR)
    return Load(farebox, account, f"{shop}/x")


async def is_paid_for(load: Load) -> bool:
    """Each call that was answered was charged, and no other."""
    farebox = load.farebox
    charged = await farebox.pool.fetchval("SELECT count(*) FROM transfers WHERE kind = 'charge'")
    posted, held = await Ledger(farebox.pool).balance(load.account.organization_id, farebox.asset)
    return (charged, posted, held) == (load.counts["200"], 1000 * DOLLAR - charged * DOLLAR // 100, 0)


async def test_workers_that_end_one_after_the_other_fail_no_call(up: Up) -> None:  # noqa: F811
    farebox = up.farebox
    load = await loaded(farebox)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(8))
        await asyncio.sleep(1)
        for pid in workers(farebox):
            os.kill(pid, signal.SIGTERM)
            await until(lambda pid=pid: is_replaced(farebox, pid), 30)  # type: ignore[misc]
        await asyncio.sleep(0.5)
        load.is_over = True
    assert load.counts.keys() == {"200"}, load.counts
    assert load.counts["200"] > 200
    assert await is_paid_for(load)


@pytest.mark.skipif(os.isatty(0), reason="in a terminal, SIGHUP ends it")
async def test_a_rolling_restart_fails_no_call(up: Up) -> None:  # noqa: F811
    farebox = up.farebox
    load = await loaded(farebox)
    before = set(workers(farebox))
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(8))
        await asyncio.sleep(1)
        os.kill(supervisor(next(iter(before))), signal.SIGHUP)
        for pid in before:
            await until(lambda pid=pid: is_replaced(farebox, pid), 40)  # type: ignore[misc]
        await asyncio.sleep(0.5)
        load.is_over = True
    assert load.counts.keys() == {"200"}, load.counts
    assert load.counts["200"] > 200
    assert await is_paid_for(load)


async def test_the_end_of_everything_finishes_what_it_has_begun(up: Up) -> None:  # noqa: F811
    farebox = up.farebox
    load = await loaded(farebox)
    top = supervisor(workers(farebox)[0])
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(8))
        await asyncio.sleep(1)
        os.kill(top, signal.SIGTERM)
        await until(lambda: are_gone(farebox), 30)
        load.is_over = True
    lost = load.counts.keys() - {"200", "refused"}
    assert not lost, load.counts
    assert load.counts["200"] == len(farebox.upstream.seen)


async def is_replaced(farebox: Farebox, pid: int) -> bool:
    return pid not in workers(farebox) and await is_ready(farebox)


async def are_gone(farebox: Farebox) -> bool:
    return not workers(farebox)


def supervisor(worker: int) -> int:
    status = Path(f"/proc/{worker}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))
