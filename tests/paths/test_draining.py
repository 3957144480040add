"""Processes end and are replaced under load, and no call fails."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    TCPConnector,
    WSMsgType,
    web,
)

from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.paths.shoppers import Shoppers, shopping
from tests.paths.test_processes import Up, is_ready, served_everywhere, up, workers  # noqa: F401
from tests.waiting import until


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

    async def goes_on(self) -> None:
        """Return when some more were answered, however many seconds that takes here."""
        enough = self.counts["200"] + 40
        await until(lambda: self.has_come_to(enough), 30)

    async def has_come_to(self, count: int) -> bool:
        return self.counts["200"] >= count


async def loaded(farebox: Farebox) -> Load:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        # Eight callers stay below what a key may call, however fast the machine is.
        await asyncio.sleep(0.05)
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
    charged = await farebox.pool.fetchval(
        "SELECT coalesce(sum(calls), 0) FROM transfers WHERE kind = 'charge'"
    )
    posted, held = await Ledger(farebox.pool).balance(load.account.organization_id, farebox.asset)
    return (charged, posted, held) == (load.counts["200"], 1000 * DOLLAR - charged * DOLLAR // 100, 0)


async def test_workers_that_end_one_after_the_other_fail_no_call(up: Up) -> None:  # noqa: F811
    farebox = up.farebox
    load = await loaded(farebox)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(8))
        for pid in workers(farebox):
            await load.goes_on()
            os.kill(pid, signal.SIGTERM)
            await until(lambda pid=pid: is_replaced(farebox, pid), 30)  # type: ignore[misc]
        await load.goes_on()
        load.is_over = True
    assert load.counts.keys() == {"200"}, load.counts
    # What was taken ahead for a busy caller is back within a second of its last call.
    await until(lambda: is_paid_for(load))


@pytest.mark.skipif(os.isatty(0), reason="in a terminal, SIGHUP ends it")
async def test_a_rolling_restart_fails_no_call(up: Up) -> None:  # noqa: F811
    farebox = up.farebox
    load = await loaded(farebox)
    before = set(workers(farebox))
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(8))
        await load.goes_on()
        os.kill(supervisor(next(iter(before))), signal.SIGHUP)
        for pid in before:
            await until(lambda pid=pid: is_replaced(farebox, pid), 40)  # type: ignore[misc]
        await load.goes_on()
        load.is_over = True
    assert load.counts.keys() == {"200"}, load.counts
    # What was taken ahead for a busy caller is back within a second of its last call.
    await until(lambda: is_paid_for(load))


async def test_payments_that_are_being_settled_are_finished_by_workers_that_end(up: Up) -> None:  # noqa: F811
    farebox = up.farebox
    load = await loaded(farebox)
    shoppers = Shoppers(load.url.removesuffix("/x"), "", farebox.agent.private_key)
    async with shopping(shoppers, plain=0, by_key=0, by_payment=4):
        for pid in workers(farebox):
            await more_is_paid(shoppers)
            os.kill(pid, signal.SIGTERM)
            await until(lambda pid=pid: is_replaced(farebox, pid), 30)  # type: ignore[misc]
        await more_is_paid(shoppers)
    assert shoppers.told.count().keys() == {"200"}, shoppers.told.count()
    paid = len(shoppers.told.paid)
    assert len(farebox.upstream.seen) == paid
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == paid * DOLLAR // 100


async def test_the_end_cuts_streams_that_do_not_end_and_says_so_to_sockets(up: Up) -> None:  # noqa: F811
    """After 20 seconds. What was begun is paid for, once, and ``up`` does not wait for it for ever."""
    farebox = up.farebox

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/live":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b"data: on and on\n\n")
            await asyncio.sleep(0.2)

    load = await loaded(farebox)
    farebox.upstream.handler = answer
    shop, headers = load.url.removesuffix("/x"), load.account.headers
    top = supervisor(workers(farebox)[0])
    async with (
        farebox.session.get(f"{shop}/events", headers=headers) as events,
        farebox.session.ws_connect(f"{shop}/live", headers=headers) as live,
    ):
        await live.send_str("hello")
        assert await live.receive_str() == "hello"
        assert await events.content.readline() == b"data: on and on\n"
        charges = "SELECT coalesce(sum(calls), 0) FROM transfers WHERE kind = 'charge'"
        assert await farebox.pool.fetchval(charges) == 2
        os.kill(top, signal.SIGTERM)
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(live.receive())
            streamed = group.create_task(stream_seconds(events))
        assert 15 < streamed.result() < 25
        assert (closing.result().type, live.close_code) == (WSMsgType.CLOSE, 1001)
        await until(lambda: are_gone(farebox), 10)


async def stream_seconds(response: ClientResponse) -> float:
    """How long it was passed on before it broke off."""
    now = asyncio.get_running_loop().time
    begin = last = now()
    with suppress(ClientError):
        async for _ in response.content:
            last = now()
        pytest.fail("a stream that was cut off must not look complete")
    return last - begin


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


async def more_is_paid(shoppers: Shoppers) -> None:
    enough = answered(shoppers) + 4

    async def is_enough() -> bool:
        return answered(shoppers) >= enough

    await until(is_enough, 30)


def answered(shoppers: Shoppers) -> int:
    return sum(reply is not None for reply in shoppers.told.paid.values())


async def is_replaced(farebox: Farebox, pid: int) -> bool:
    return pid not in workers(farebox) and await is_ready(farebox)


async def are_gone(farebox: Farebox) -> bool:
    return not workers(farebox)


def supervisor(worker: int) -> int:
    status = Path(f"/proc/{worker}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))
