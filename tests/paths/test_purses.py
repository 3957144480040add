"""What callers who call often see of the purses that they are paid from: nothing."""

import asyncio

from aiohttp import web

from gateway.ledger import purses
from gateway.ledger.spenders import CALLS_MIN
from tests.paths.conftest import DOLLAR, Farebox
from tests.waiting import until

PRICE = DOLLAR // 100
CALLS = 2 * CALLS_MIN


async def test_a_call_whose_purse_is_swept_while_it_runs_is_answered_and_paid_once(farebox: Farebox) -> None:
    """As if its process had been stopped for so long: the call was served, and the money is there."""
    shop = await farebox.publish(price_per_call="0.01")
    account = await farebox.sign_up()
    await farebox.fund(account, 100 * DOLLAR)
    made, at_upstream, may_answer = 0, 0, asyncio.Event()

    async def calls() -> list[int]:
        nonlocal made
        made += CALLS
        asked = (farebox.agent.ask("GET", f"{shop}/often", headers=account.headers) for _ in range(CALLS))
        return [reply.status for reply in await asyncio.gather(*asked)]

    async def has_purse() -> bool:
        assert await calls() == [200] * CALLS
        return bool(await farebox.pool.fetchval("SELECT count(*) FROM purses"))

    async def wait(request: web.Request) -> web.StreamResponse:
        nonlocal at_upstream
        at_upstream += 1
        await may_answer.wait()
        return web.json_response({})

    async def are_there() -> bool:
        return at_upstream == CALLS

    async def is_swept() -> bool:
        # One that was being taken is there a moment later.
        await farebox.pool.execute("UPDATE purses SET expires_at = now()")
        await purses.return_expired(farebox.pool)
        return not await farebox.pool.fetchval("SELECT count(*) FROM purses")

    await until(has_purse)
    farebox.upstream.handler = wait
    async with asyncio.TaskGroup() as group:
        last = group.create_task(calls())
        await until(are_there)
        await until(is_swept)
        may_answer.set()
    assert last.result() == [200] * CALLS
    assert await farebox.pool.fetchval("SELECT count(*) FROM holds WHERE state = 'posted'") > 0
    assert await farebox.spent(account, 100 * DOLLAR) == made * PRICE
    assert await farebox.pool.fetchval("SELECT count(*) FROM usage_events") == made
