"""Workers that die between two steps of a paid call, and what the client that asks again is told."""

import asyncio
import os
import signal

from aiohttp import ClientError, web

from gateway.ledger import holds
from tests.gateway.conftest import Ledger
from tests.paths import test_processes
from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.paths.test_processes import Up
from tests.waiting import until

QUARTER = DOLLAR // 4

up = test_processes.up


async def shop_and_account(farebox: Farebox) -> tuple[str, Account]:
    shop = await farebox.publish()
    await test_processes.served_everywhere(farebox, shop)
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    return f"{shop}/x", account


async def die(farebox: Farebox) -> None:
    """All that serve the port, at once, and wait for their successors."""
    for pid in test_processes.workers(farebox):
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    await until(lambda: test_processes.is_ready(farebox), 20)


async def ask(farebox: Farebox, url: str, headers: dict[str, str]) -> int | None:
    try:
        return (await farebox.agent.ask("GET", url, headers=headers)).status
    except ClientError:
        return None


class Stalling:
    """An upstream that answers so much, and then not the rest."""

    def __init__(self, *, is_head_sent: bool) -> None:
        self.is_head_sent = is_head_sent
        self.reached = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if self.is_head_sent:
            await response.prepare(request)
            await response.write(b"half of it")
        self.reached.set()
        await asyncio.sleep(60)
        return response


async def test_killed_before_the_answer_a_call_is_made_again_once_its_hold_is_void(up: Up) -> None:
    farebox = up.farebox
    url, account = await shop_and_account(farebox)
    headers = {**account.headers, "Idempotency-Key": "order-1"}
    stalling = Stalling(is_head_sent=False)
    farebox.upstream.handler = stalling.answer
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(ask(farebox, url, headers))
        await stalling.reached.wait()
        await die(farebox)
    assert asked.result() is None
    farebox.upstream.handler = None
    # Nobody knows what became of it, so it is not made again.
    waiting = await farebox.agent.ask("GET", url, headers=headers)
    assert (waiting.status, waiting.json["code"]) == (409, "call-in-progress")
    assert waiting.headers["Retry-After"] == "1"
    assert len(farebox.upstream.seen) == 1
    await farebox.pool.execute("UPDATE holds SET expires_at = now()")
    await holds.void_expired(farebox.pool)
    again = await farebox.agent.ask("GET", url, headers=headers)
    assert (again.status, "Idempotent-Replayed" in again.headers) == (200, False)
    assert await farebox.balance(account) == DOLLAR - QUARTER
    assert await Ledger(farebox.pool).is_sound()


async def test_killed_between_answer_and_store_a_call_is_charged_once_and_says_so(up: Up) -> None:
    farebox = up.farebox
    url, account = await shop_and_account(farebox)
    headers = {**account.headers, "Idempotency-Key": "order-1"}
    stalling = Stalling(is_head_sent=True)
    farebox.upstream.handler = stalling.answer
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(ask(farebox, url, headers))
        await until(lambda: is_charged(farebox))
        await die(farebox)
    assert asked.result() is None
    farebox.upstream.handler = None
    # It may still be running somewhere: no worker knows of the others.
    assert (await farebox.agent.ask("GET", url, headers=headers)).json["code"] == "call-in-progress"
    await farebox.pool.execute("UPDATE holds SET expires_at = now()")
    lost = await farebox.agent.ask("GET", url, headers=headers)
    assert (lost.status, lost.json["code"], lost.json["reason"]) == (409, "answer-not-kept", "gone")
    assert lost.json["charged"].startswith("0.25 ")
    assert len(farebox.upstream.seen) == 1
    assert await farebox.balance(account) == DOLLAR - QUARTER


async def is_charged(farebox: Farebox) -> bool:
    return bool(await farebox.pool.fetchval("SELECT count(*) FROM transfers WHERE kind = 'charge'"))


async def is_stored_while_pending(farebox: Farebox) -> bool:
    return bool(
        await farebox.pool.fetchval(
            "SELECT count(*) FROM answers JOIN payments ON id = call_id WHERE state = 'submitted'"
        )
    )


async def test_killed_while_a_payment_settles_the_payer_has_its_answer_afterwards(up: Up) -> None:
    """The answer is stored while its payment is on the way; the worker role finishes the payment."""
    farebox = up.farebox
    url, _ = await shop_and_account(farebox)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    farebox.chain.node.is_automining = False
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(ask(farebox, url, payment))
        await until(lambda: is_stored_while_pending(farebox))
        await die(farebox)
    assert asked.result() is None
    pending = await farebox.agent.ask("GET", url, headers=payment)
    assert (pending.status, pending.json["code"]) == (503, "settlement_pending")
    await farebox.chain.run(farebox.chain.node.mine_waiting)
    farebox.chain.node.is_automining = True
    await until(lambda: is_charged(farebox), 30)
    again = await farebox.agent.ask("GET", url, headers=payment)
    assert (again.status, again.json["path"], again.payment["success"]) == (200, "/x", True)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(farebox.upstream.seen) == 1
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    assert await Ledger(farebox.pool).is_sound()


async def test_killed_between_settling_and_storing_a_payer_is_not_asked_to_pay_again(up: Up) -> None:
    farebox = up.farebox
    url, _ = await shop_and_account(farebox)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    stalling = Stalling(is_head_sent=True)
    farebox.upstream.handler = stalling.answer
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(ask(farebox, url, payment))
        await until(lambda: is_charged(farebox))
        await die(farebox)
    assert asked.result() is None
    farebox.upstream.handler = None
    waiting = await farebox.agent.ask("GET", url, headers=payment)
    assert (waiting.status, waiting.json["code"]) == (409, "payment-in-progress")
    await farebox.pool.execute("UPDATE payments SET created_at = now() - interval '1 day'")
    lost = await farebox.agent.ask("GET", url, headers=payment)
    assert (lost.status, lost.json["code"], lost.payment["success"]) == (409, "answer-not-kept", True)
    assert len(farebox.upstream.seen) == 1
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
