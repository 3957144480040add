"""A settlement whose end the caller does not see."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from control.roles.base import Base, based
from gateway.ledger import accounts
from gateway.x402 import payments
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Farebox, serving
from tests.waiting import until

QUARTER = DOLLAR // 4
NOW = timedelta(0)


@pytest.fixture
def network() -> dict[str, Any]:
    return {"settle_timeout_seconds": 1}


async def test_an_unknown_outcome_is_pending_and_the_reconciler_finishes_it(farebox: Farebox) -> None:
    """The node takes the transaction and then goes away, so nobody knows whether it was mined."""
    url = await farebox.publish() + "/x"
    challenge = await farebox.agent.ask("GET", url)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    farebox.chain.node.is_automining = False
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(farebox.agent.ask("GET", url, headers=payment))
        await until(lambda: is_in(farebox, "submitted"))
        await until(lambda: is_waiting(farebox))
        farebox.chain.is_refusing = True
    reply = asked.result()
    assert (reply.status, reply.json["code"]) == (503, "settlement_pending")
    assert int(reply.headers["Retry-After"]) > 0
    assert reply.json["transaction"].startswith("0x")
    # The same payment is still pending, and nobody is asked for another.
    again = await farebox.agent.ask("GET", url, headers=payment)
    assert (again.status, again.json["payment_id"]) == (503, reply.json["payment_id"])
    assert await farebox.earned() == (0, 0)

    farebox.chain.is_refusing = False
    await farebox.chain.run(farebox.chain.node.mine_waiting)
    async with based(farebox.settings, farebox.origin) as base:
        await until(lambda: is_reconciled(base))
    assert await farebox.earned() == (QUARTER * 9 // 10, QUARTER // 10)
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    assert await farebox.is_sound()
    last = await farebox.agent.ask("GET", url, headers=payment)
    assert (last.status, last.json["path"], last.payment["success"]) == (200, "/x", True)
    assert last.headers["Idempotent-Replayed"] == "true"
    assert len(farebox.upstream.seen) == 1


async def is_waiting(farebox: Farebox) -> bool:
    """It is written down before it is sent."""
    return any(farebox.chain.node.waiting.values())


async def is_reconciled(base: Base) -> bool:
    return bool(await base.settlements.reconcile(NOW))


async def test_a_claim_that_its_process_left_behind_is_never_charged(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    challenge = await farebox.agent.ask("GET", url)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    stuck = asyncio.Event()

    async def hang(_: object) -> object:
        await stuck.wait()
        raise AssertionError

    farebox.upstream.handler = hang  # type: ignore[assignment]
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(farebox.agent.ask("GET", url, headers=payment))
        await until(lambda: is_in(farebox, "claimed"))
        assert await payments.abandon(farebox.pool, NOW) == 1
        stuck.set()
    assert asked.result().status == 500
    again = await farebox.agent.ask("GET", url, headers=payment)
    assert (again.status, again.json["error"]) == (402, "invalid_transaction_state")
    assert await farebox.earned() == (0, 0)


async def is_in(farebox: Farebox, state: str) -> bool:
    return bool(await farebox.pool.fetchval("SELECT state FROM payments") == state)


async def test_money_to_the_publishers_own_wallet_is_earned_and_not_owed(farebox: Farebox) -> None:
    """Without a wallet of the platform's own, payments go straight to the publisher's."""
    (network,) = farebox.settings.networks
    direct = farebox.settings.model_copy(update={"networks": (network.model_copy(update={"pay_to": None}),)})
    shop = await farebox.publish()
    async with serving(direct) as origin:
        url = shop.replace(farebox.origin, origin) + "/x"
        assert (await farebox.pay("GET", url)).status == 200
        deposit = await farebox.agent.ask("POST", f"{origin}/wallet/deposit/crypto", body={"amount": "1"})
        assert (deposit.status, deposit.json["code"]) == (409, "deposits-not-offered")
    wallet = farebox.chain.accounts[5].address
    assert await farebox.chain.balance(farebox.token, wallet) == QUARTER
    assert await farebox.earned() == (0, 0)
    ledger = Ledger(farebox.pool)
    assert await ledger.balance(accounts.PLATFORM, farebox.asset, "chain") == (0, 0)
    moved = await farebox.pool.fetch("SELECT kind FROM transfers ORDER BY kind")
    assert [row["kind"] for row in moved] == ["charge", "payout"]
    assert await farebox.is_sound()
