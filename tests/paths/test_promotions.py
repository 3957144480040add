"""What the operator gives away pays for calls, and publishers are paid with it for real."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from control import bootstrap
from gateway.ledger import grants
from tests.paths.conftest import DOLLAR, Account, Farebox


@pytest.fixture
async def operator(farebox: Farebox) -> dict[str, str]:
    return {"Authorization": f"Bearer {await bootstrap.ensure_operator(farebox.pool, 'test')}"}


async def give(farebox: Farebox, operator: dict[str, str], account: Account, amount: str) -> None:
    body: dict[str, Any] = {"asset_id": str(farebox.asset.id), "amount": amount}
    budget = {**body, "source": "bank"}
    for path, sent in (
        ("/platform/promotions/budget", budget),
        (f"/platform/organizations/{account.organization_id}/grants", body),
    ):
        reply = await farebox.agent.ask("POST", farebox.origin + path, headers=operator, body=sent)
        assert reply.status == 201, reply.text


async def test_sixty_calls_on_one_dollar_given_and_one_and_a_half_funded_give_ten(
    farebox: Farebox, operator: dict[str, str]
) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR + DOLLAR // 2)
    await give(farebox, operator, account, "1")
    assert await farebox.balance(account) == 2 * DOLLAR + DOLLAR // 2
    replies = await asyncio.gather(
        *(farebox.agent.ask("GET", url, headers=account.headers) for _ in range(60))
    )
    assert sorted(reply.status for reply in replies) == [200] * 10 + [402] * 50
    refused = next(reply for reply in replies if reply.status == 402)
    assert "deposit_url" in refused.json
    assert sum(await farebox.earned()) == 10 * DOLLAR // 4
    assert await farebox.balance(account) == 0
    assert await farebox.is_sound()


async def test_what_was_given_is_spent_first_and_an_error_costs_nothing_of_it(
    farebox: Farebox, operator: dict[str, str]
) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)

    async def wallet() -> tuple[int, int]:
        reply = await farebox.agent.ask("GET", f"{farebox.origin}/wallet/balance", headers=account.headers)
        shown = reply.json["data"]
        return shown["promotional_balance_atomic"], shown["funded_balance_atomic"]

    async def call(**headers: str) -> int:
        return (await farebox.agent.ask("GET", url, headers={**account.headers, **headers})).status

    assert await call() == 200
    # The gateway finds out by itself, without being told.
    await give(farebox, operator, account, "0.6")
    assert [await call(**{"Idempotency-Key": "one"}) for _ in range(3)] == [200] * 3
    assert await wallet() == (350_000, 750_000)

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500)

    answering, farebox.upstream.handler = farebox.upstream.handler, broken
    assert await call() == 500
    assert await wallet() == (350_000, 750_000)
    farebox.upstream.handler = answering
    # The second is paid from both, the third from what was deposited.
    assert [await call() for _ in range(3)] == [200] * 3
    assert await wallet() == (0, 350_000)
    assert sum(await farebox.earned()) == 5 * DOLLAR // 4
    shown = await farebox.agent.ask(
        "GET", f"{farebox.origin}/wallet/transactions?include_usage=true", headers=account.headers
    )
    lines = [(one["source"], one["amount_usd"]) for one in shown.json["data"]["transactions"]]
    assert sorted(lines) == sorted(
        [("usage", "0.25")] * 5 + [("admin_grant", "0.6"), ("onchain_deposit", "1")]
    )
    assert await farebox.is_sound()


async def test_what_expires_during_a_call_pays_for_that_call_and_for_no_other(
    farebox: Farebox, operator: dict[str, str]
) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await give(farebox, operator, account, "1")
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        is_asked.set()
        await may_answer.wait()
        return web.Response(text="late")

    farebox.upstream.handler = slow
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        call = group.create_task(farebox.agent.ask("GET", url, headers=account.headers))
        await is_asked.wait()
        await farebox.pool.execute("UPDATE grants SET expires_at = now()")
        assert await grants.expire(farebox.pool) == 1
        assert (await farebox.agent.ask("GET", url, headers=account.headers)).status == 402
        may_answer.set()
    assert call.result().status == 200
    assert sum(await farebox.earned()) == DOLLAR // 4
    assert await farebox.balance(account) == 0
    assert await farebox.is_sound()
