"""A publisher may ask that its callers keep a balance, and be patient with those who do not."""

import asyncio

from tests.paths.conftest import DOLLAR, Farebox


async def test_a_balance_below_the_minimum_is_refused_and_told_why(farebox: Farebox) -> None:
    url = await farebox.publish(price_per_call="0.25", minimum_balance="0.60") + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    statuses = [(await farebox.agent.ask("GET", url, headers=account.headers)).status for _ in range(3)]
    # 1.00 and 0.75 are enough; 0.50 would cover the call, and is below the minimum.
    assert statuses == [200, 200, 402]
    reply = await farebox.agent.ask("GET", url, headers=account.headers)
    assert (reply.json["minimum_balance"], reply.json["balance"]["missing"]) == ("0.6", "0.1")
    assert "asks for a balance of 0.6" in reply.json["detail"]
    assert await farebox.balance(account) == DOLLAR // 2
    await farebox.fund(account, DOLLAR // 10)
    assert (await farebox.agent.ask("GET", url, headers=account.headers)).status == 200
    # Who pays on chain needs no balance.
    assert (await farebox.pay("GET", url)).status == 200
    assert await farebox.is_sound()


async def test_the_grace_period_begins_with_the_first_low_call_and_ends_with_a_deposit(
    farebox: Farebox,
) -> None:
    url = await farebox.publish(price_per_call="0.01", minimum_balance="0.60", grace_period_minutes=5) + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR // 2)

    async def ask() -> int:
        return (await farebox.agent.ask("GET", url, headers=account.headers)).status

    assert await asyncio.gather(*(ask() for _ in range(20))) == [200] * 20
    past = "UPDATE low_balances SET since = since - interval '6 minutes'"
    assert await farebox.pool.execute(past) == "UPDATE 1"
    assert await ask() == 402
    await farebox.fund(account, DOLLAR)
    assert await ask() == 200
    assert await farebox.pool.fetchval("SELECT count(*) FROM low_balances") == 0
    assert await farebox.is_sound()


async def test_grace_is_no_credit(farebox: Farebox) -> None:
    url = await farebox.publish(price_per_call="0.25", minimum_balance="0.60", grace_period_minutes=5) + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR // 4)
    statuses = [(await farebox.agent.ask("GET", url, headers=account.headers)).status for _ in range(2)]
    assert statuses == [200, 402]
    assert await farebox.balance(account) == 0
