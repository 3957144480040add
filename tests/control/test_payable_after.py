"""Earnings that are not paid out before they are some days old."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from config.money import Payouts
from control.api.ports import Ports
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, charging, payouts
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.batches import Opening, Posting
from gateway.ledger.holds import Holds
from tests.control.balanced import differences
from tests.control.conftest import NETWORKS, TEST_USDC, Member, join, ports_with
from tests.control.promotions import deposit
from tests.control.test_attacks_on_billing import spend_gift
from tests.control.test_earnings import charge
from tests.control.test_payouts import DOLLAR, Till, code
from tests.control.test_payouts import till as till

DAYS = 7
DAY_NANOSECONDS = 86_400 * 10**9


@pytest.fixture
def ports() -> Ports:
    plain = ports_with(NETWORKS)
    chosen = Payouts(minimum="0", is_manual=True, after_days=DAYS)
    settings = plain.settings.model_copy(update={"payouts": chosen})
    return Ports(plain.guard, plain.keyring, plain.modes, settings)


@pytest.fixture
async def payer(pool: Pool, till: Till) -> Member:
    payer = await join(pool)
    await deposit(pool, payer, 100 * DOLLAR)
    return payer


@contextmanager
def days_ago(days: float) -> Iterator[None]:
    """What is made meanwhile says that it was made then."""
    with pytest.MonkeyPatch.context() as patched:
        then = time.time_ns() - int(days * DAY_NANOSECONDS)
        patched.setattr("gateway.kit.ids.time.time_ns", lambda: then)
        yield


async def available(till: Till) -> int:
    found: int = (await till.earnings())["available_atomic"]
    return found


async def test_what_is_young_is_not_paid_out_yet(till: Till, payer: Member) -> None:
    with days_ago(DAYS + 0.1):
        await charge(till, payer, till.publisher_id, 3 * DOLLAR, DOLLAR)
    with days_ago(DAYS - 0.1):
        await charge(till, payer, till.publisher_id, 5 * DOLLAR, DOLLAR)
    shown = await till.earnings()
    assert (shown["total_revenue_atomic"], shown["available_atomic"]) == (6 * DOLLAR, 2 * DOLLAR)
    assert shown["waiting_atomic"] == 4 * DOLLAR
    left = datetime.fromisoformat(shown["waiting_until"]) - datetime.now(UTC)
    assert timedelta(hours=2.3) < left < timedelta(hours=2.4)
    refused = await till.ask(amount_atomic=2 * DOLLAR + 1)
    assert await code(refused) == (409, "earnings-too-low")
    assert "at least 7 days ago" in (await refused.json())["detail"]
    assert await code(await till.bill(3 * DOLLAR)) == (409, "earnings-too-low")
    # All that is available, when no amount is said.
    assert (await till.asked())["amount_atomic"] == 2 * DOLLAR
    assert await code(await till.ask()) == (409, "earnings-too-low")
    assert await till.balances() == (4 * DOLLAR, 2 * DOLLAR)
    assert await differences(till.pool) == []


async def test_a_call_is_as_old_as_its_id(till: Till, payer: Member) -> None:
    holds = Holds(till.pool, timedelta(hours=1))
    earnings = await accounts.ensure(till.pool, till.owner, TEST_USDC, "earnings")
    for age in (DAYS + 1, 0):
        with days_ago(age):
            call_id = ids.new()
        opening = Opening(call_id, payer.id.organization_id, earnings, TEST_USDC, DOLLAR)
        assert (await holds.open(opening)).is_open
        posting = Posting(call_id, DOLLAR, 0, "GET /", UUID(till.publisher_id), "GET", "/", 200)
        assert await holds.post(posting)
    await holds.close()
    assert await available(till) == DOLLAR


@pytest.mark.parametrize(
    ("refunded", "left"),
    [
        ("young", 2 * DOLLAR),  # it was not available in the first place
        ("old", DOLLAR),  # and what is young does not make up for it
    ],
)
async def test_a_refund_is_the_loss_of_what_it_refunds(
    till: Till, payer: Member, refunded: str, left: int
) -> None:
    with days_ago(DAYS + 1):
        made = {"old": await charge(till, payer, till.publisher_id, 2 * DOLLAR, 0)}
    made["young"] = await charge(till, payer, till.publisher_id, 5 * DOLLAR, 0)
    refund_id = ids.new()
    async with till.pool.acquire() as db, db.transaction():
        await record(db, made[refunded], refund_id, DOLLAR)
        await charging.refund(db, refund_id, made[refunded].id, DOLLAR, "late")
    assert (await available(till), (await till.balances())[0]) == (left, 6 * DOLLAR)


async def record(db: Any, one: charging.Charge, refund_id: UUID, amount: int) -> None:
    await db.execute(
        "INSERT INTO charges (id, publisher_id, payer_id, agent_wallet, asset_id, amount, fee, refunded,"
        " description, digest) VALUES ($1, $2, $3, lower($4), $5, $6, $7, $8, 'x', $9)",
        one.id, one.publisher_id, one.payer_id, one.wallet, one.asset_id, one.amount, one.fee, amount,
        bytes(32),
    )  # fmt: skip
    await db.execute(
        "INSERT INTO charge_changes (id, charge_id, kind, amount, reason) VALUES ($2, $1, 'refund', $3, 'x')",
        one.id, refund_id, amount,
    )  # fmt: skip


async def test_what_came_back_may_leave_again(till: Till, payer: Member) -> None:
    with days_ago(DAYS + 1):
        await charge(till, payer, till.publisher_id, 2 * DOLLAR, 0)
    await charge(till, payer, till.publisher_id, DOLLAR, 0)
    payout = await till.asked()
    assert (await till.decide(payout, status="failed", reason="no such wallet"))[0] == 200
    assert await available(till) == 2 * DOLLAR
    assert await differences(till.pool) == []


async def test_own_gifts_are_taken_off_once(till: Till, payer: Member) -> None:
    with days_ago(DAYS + 1):
        await charge(till, payer, till.publisher_id, 2 * DOLLAR, 0)
        await spend_gift(till.pool, till.owner, till.owner, DOLLAR)
    await spend_gift(till.pool, till.owner, till.owner, 4 * DOLLAR)
    assert await available(till) == 2 * DOLLAR


async def test_money_that_left_too_early_is_a_difference(till: Till, payer: Member) -> None:
    with days_ago(DAYS + 1):
        await charge(till, payer, till.publisher_id, 2 * DOLLAR, 0)
    await till.asked()
    assert await differences(till.pool) == []
    await till.pool.execute("UPDATE payouts SET earned_before = earned_before - interval '9 days'")
    assert await differences(till.pool) == ["aged"]


async def test_young_earnings_are_a_range_of_an_index(pool: Pool) -> None:
    async with pool.acquire() as one, one.transaction():
        await one.execute("SET LOCAL enable_seqscan = off")
        lines = await one.fetch(f"EXPLAIN {payouts.SQL.available}", PLATFORM, TEST_USDC, timedelta(days=DAYS))
    found = re.findall(
        r"account_id = earnings.id\) AND \(transfer_id >= ", "\n".join(one[0] for one in lines)
    )
    assert len(found) == 1
