"""A crowd's payments are answered before they are booked, and a process dies in between."""

import asyncio
from datetime import timedelta

import pytest

from control.agent.client import Reply
from control.roles.base import based
from gateway.ledger import accounts
from gateway.x402 import payments
from gateway.x402.bookings import Bookings
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Farebox

QUARTER = DOLLAR // 4
NOW = timedelta(0)
CALLERS = 8


async def pay(farebox: Farebox, url: str) -> tuple[list[dict[str, str]], list[Reply]]:
    challenge = await farebox.agent.ask("GET", url)
    paid = [{"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)} for _ in range(CALLERS)]
    return paid, await asyncio.gather(*(farebox.agent.ask("GET", url, headers=one) for one in paid))


async def test_what_was_answered_is_booked_and_given_again_though_its_process_died(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bookings, "expect", lambda bookings, settled: None)
    url = await farebox.publish() + "/x"
    paid, replies = await pay(farebox, url)
    assert [one.status for one in replies] == [200] * CALLERS
    transactions = [one.payment["transaction"] for one in replies]
    assert await farebox.pool.fetchval("SELECT count(*) FROM payments WHERE state = 'submitted'") > 0
    monkeypatch.undo()
    async with based(farebox.settings, farebox.origin) as base:
        # What was sent is not abandoned, however old its claim is.
        assert await payments.abandon(base.pool, NOW) == 0
        await base.settlements.reconcile(NOW)
    assert await farebox.earned() == (CALLERS * QUARTER * 9 // 10, CALLERS * QUARTER // 10)
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == CALLERS * QUARTER
    chain = await Ledger(farebox.pool).balance(accounts.PLATFORM, farebox.asset, "chain")
    assert chain == (-CALLERS * QUARTER, 0)
    assert await farebox.is_sound()
    again = await asyncio.gather(*(farebox.agent.ask("GET", url, headers=one) for one in paid))
    assert [(one.status, one.headers["Idempotent-Replayed"]) for one in again] == [(200, "true")] * CALLERS
    assert [one.payment["transaction"] for one in again] == transactions
    assert len(farebox.upstream.seen) == CALLERS


async def test_the_same_payment_sent_again_at_once_waits_until_the_first_is_booked(farebox: Farebox) -> None:
    """As a client does whose connection broke: within the moment that the booking takes."""
    url = await farebox.publish() + "/x"
    paid, replies = await pay(farebox, url)
    assert [one.status for one in replies] == [200] * CALLERS
    again = await asyncio.gather(*(farebox.agent.ask("GET", url, headers=one) for one in paid))
    assert [one.status for one in again] == [200] * CALLERS
    assert len(farebox.upstream.seen) == CALLERS
    assert await farebox.earned() == (CALLERS * QUARTER * 9 // 10, CALLERS * QUARTER // 10)
