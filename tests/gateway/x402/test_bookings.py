"""Payments whose calls are answered before they are booked."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.x402 import bookings, payments, settlement
from gateway.x402.bookings import Bookings
from gateway.x402.facilitator import Authorization, Settlement
from gateway.x402.local import LocalFacilitator
from gateway.x402.settlement import CROWD_MIN, Settlements
from tests.gateway.conftest import Ledger
from tests.gateway.x402.shop import PRICE, Shop
from tests.waiting import until

NOW = timedelta(0)
HASH = "0x" + "ab" * 32


@dataclass
class Forgetful:
    """A facilitator without a node, which says once that it settled a payment, and denies it afterwards."""

    pool: Pool
    can_be_asked_again: bool = False
    told: set[UUID] = field(default_factory=set)

    async def check_again(self, authorization: Authorization) -> None:
        return

    async def submit(self, payment_id: UUID, authorization: Any, usage: Any, kept: Any = None) -> None:
        assert await payments.submit(self.pool, {payment_id: usage})

    async def outcome(self, payment_id: UUID, wait_seconds: float) -> Settlement:
        if payment_id in self.told:
            return Settlement("pending", "")
        self.told.add(payment_id)
        return Settlement("settled", HASH)


@pytest.fixture(autouse=True)
def booked_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookings, "BOOK_SECONDS", 3600)
    # However slow the machine is, the last of a crowd are of it.
    monkeypatch.setattr(settlement, "CROWD_SECONDS", 3600)


def settlements(shop: Shop, facilitator: Any) -> Settlements:
    return Settlements(shop.pool, {shop.network.id: facilitator}, {shop.network.id: 5})


@pytest.fixture
async def remote(shop: Shop) -> AsyncIterator[Settlements]:
    one = settlements(shop, Forgetful(shop.pool))
    yield one
    await one.close()


async def use(shop: Shop) -> dict[str, Any]:
    """What the usage row of a call says."""
    ledger = Ledger(shop.pool)
    publisher_id = await ledger.publisher(await ledger.organization())
    return {"publisher_id": str(publisher_id), "method": "GET", "path": "/x", "status": 200}


async def crowd(shop: Shop, own: Settlements, size: int = 2 * CROWD_MIN) -> list[UUID]:
    """Payments that are settled together and answered first."""
    signed = [shop.sign() for _ in range(size)]
    claimed = [await shop.claim(one) for one in signed]
    used = await use(shop)
    made = await asyncio.gather(
        *(
            own.settle(payment_id, one, dict(used), is_answered_first=True)
            for payment_id, one in zip(claimed, signed, strict=True)
        )
    )
    assert [one.outcome for one in made] == ["settled"] * size
    return claimed


def die(own: Settlements) -> None:
    """What it knew is gone."""
    own.bookings.waiting.clear()
    own.bookings.written.clear()
    own.bookings.later.cancel()


async def count(shop: Shop, table: str) -> int:
    return int(await shop.pool.fetchval(f"SELECT count(*) FROM {table}"))


async def states(shop: Shop, ids: list[UUID]) -> list[str]:
    known = await payments.states(shop.pool, ids)
    return sorted(known.values())


async def looked_at(shop: Shop) -> int:
    """How many settled payments are looked at again, should the chain take them back."""
    return int(await shop.pool.fetchval("SELECT count(*) FROM payments WHERE final_at IS NULL"))


async def earned(shop: Shop) -> int:
    posted, _ = await Ledger(shop.pool).balance(accounts.PLATFORM, shop.asset, "earnings")
    return posted


async def test_a_crowd_is_answered_once_what_was_said_is_durable_and_booked_a_moment_later(
    shop: Shop, remote: Settlements
) -> None:
    ids = await crowd(shop, remote)
    waiting = [one for one in ids if one in remote.bookings.waiting]
    # The last of them too, when the others are answered.
    assert len(waiting) == len(ids)
    assert await count(shop, "payment_slips") > 0
    assert (await states(shop, waiting)) == ["submitted"] * len(waiting)
    await remote.bookings.close()
    assert await states(shop, ids) == ["settled"] * len(ids)
    assert (await count(shop, "payment_slips"), await count(shop, "usage_events")) == (0, len(ids))
    # There is nobody to ask.
    assert await looked_at(shop) == 0
    assert await earned(shop) == len(ids) * PRICE
    assert await Ledger(shop.pool).is_sound()


async def test_who_is_alone_is_booked_before_the_answer(shop: Shop, remote: Settlements) -> None:
    ids = await crowd(shop, remote, CROWD_MIN - 1)
    assert await states(shop, ids) == ["settled"] * len(ids)
    assert await count(shop, "payment_slips") == 0


async def test_what_a_dead_process_heard_from_a_facilitator_is_booked_by_the_next_and_once(
    shop: Shop, remote: Settlements
) -> None:
    """The facilitator would deny it, so there is nothing else to know it by."""
    ids = await crowd(shop, remote)
    die(remote)
    another, third = Bookings(shop.pool), Bookings(shop.pool)
    await asyncio.gather(another.start(), third.start())
    assert await states(shop, ids) == ["settled"] * len(ids)
    assert await count(shop, "payment_slips") == 0
    assert await earned(shop) == len(ids) * PRICE
    assert await Ledger(shop.pool).is_sound()


async def test_a_process_that_is_killed_between_its_answers_and_their_booking_loses_nothing(
    server: str, database: str, shop: Shop
) -> None:
    """By SIGKILL, once what was answered is durable."""
    ids = [await shop.claim(shop.sign()) for _ in range(CROWD_MIN)]
    assert await payments.submit(shop.pool, dict.fromkeys(ids, await use(shop)))
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.gateway.x402.promising", server, database, HASH, *map(str, ids)
    )
    assert await killed.wait() == -signal.SIGKILL
    assert await states(shop, ids) == ["submitted"] * len(ids)
    assert await count(shop, "payment_slips") > 0
    assert await earned(shop) == 0
    await bookings.book_left_over(shop.pool, NOW)
    assert await states(shop, ids) == ["settled"] * len(ids)
    assert (await count(shop, "payment_slips"), await count(shop, "usage_events")) == (0, len(ids))
    assert await earned(shop) == len(ids) * PRICE
    assert await Ledger(shop.pool).is_sound()


async def test_the_background_jobs_leave_what_is_younger_to_its_process(
    shop: Shop, remote: Settlements
) -> None:
    ids = await crowd(shop, remote)
    before = await states(shop, ids)
    await bookings.book_left_over(shop.pool, timedelta(hours=1))
    assert await states(shop, ids) == before
    await bookings.book_left_over(shop.pool, NOW)
    # Its own process does not know, and changes nothing.
    await remote.bookings.close()
    assert await earned(shop) == len(ids) * PRICE
    assert await Ledger(shop.pool).is_sound()


async def test_what_is_on_the_chain_is_written_nowhere_else_and_found_there(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    own = settlements(shop, facilitator)
    ids = await crowd(shop, own)
    assert await count(shop, "payment_slips") == 0
    assert "submitted" in await states(shop, ids)
    die(own)
    another = settlements(shop, facilitator)
    assert await another.reconcile(NOW) > 0
    assert await states(shop, ids) == ["settled"] * len(ids)
    assert await earned(shop) == await shop.paid() == len(ids) * PRICE
    assert await looked_at(shop) == len(ids)
    assert await Ledger(shop.pool).is_sound()


async def test_a_slip_whose_commit_nobody_heard_of_is_written_once(
    shop: Shop, remote: Settlements, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = shop.pool.execute
    lost: list[str] = []

    async def execute_and_lose(query: str, *values: Any) -> Any:
        answer = await execute(query, *values)
        if query == bookings.SQL.write and not lost:
            lost.append(query)
            raise asyncpg.ConnectionDoesNotExistError("the answer was lost on the way back")
        return answer

    monkeypatch.setattr(shop.pool, "execute", execute_and_lose)
    ids = await crowd(shop, remote)
    assert lost
    await remote.bookings.close()
    assert await states(shop, ids) == ["settled"] * len(ids)
    assert await count(shop, "payment_slips") == 0
    assert await earned(shop) == len(ids) * PRICE


async def test_a_database_that_is_away_is_tried_again(
    shop: Shop, remote: Settlements, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await crowd(shop, remote)
    settle, away = payments.settle, [True]

    async def settle_later(*values: Any) -> None:
        if away:
            raise asyncpg.CannotConnectNowError("starting up")
        await settle(*values)

    monkeypatch.setattr(payments, "settle", settle_later)
    monkeypatch.setattr(bookings, "RETRY_SECONDS", 0.01)
    remote.bookings.later.cancel()
    remote.bookings.start_booking()
    await asyncio.sleep(0.1)
    assert "submitted" in await states(shop, ids)
    away.clear()

    async def is_booked() -> bool:
        return set(await states(shop, ids)) == {"settled"}

    await until(is_booked)
    assert await earned(shop) == len(ids) * PRICE


async def test_a_payment_that_cannot_be_booked_is_in_nobodys_way_and_stays_written_down(
    shop: Shop, remote: Settlements, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await crowd(shop, remote)
    bad = next(iter(remote.bookings.waiting))
    settle = payments.settle

    async def settle_others(pool: Any, transactions: Any) -> None:
        if bad in transactions:
            raise asyncpg.CheckViolationError("a bug")
        await settle(pool, transactions)

    monkeypatch.setattr(payments, "settle", settle_others)
    await remote.bookings.close()
    assert await states(shop, ids) == ["settled"] * (len(ids) - 1) + ["submitted"]
    assert await count(shop, "payment_slips") > 0
    monkeypatch.undo()
    await bookings.book_left_over(shop.pool, NOW)
    assert await states(shop, ids) == ["settled"] * len(ids)
    assert await count(shop, "payment_slips") == 0
    assert await earned(shop) == len(ids) * PRICE


async def test_what_came_while_others_were_booked_is_booked_before_the_process_ends(
    shop: Shop, remote: Settlements, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, began, may_go_on = payments.settle, asyncio.Event(), asyncio.Event()

    async def settle_slowly(*values: Any) -> None:
        began.set()
        await may_go_on.wait()
        await settle(*values)

    ids = await crowd(shop, remote)
    monkeypatch.setattr(payments, "settle", settle_slowly)
    remote.bookings.start_booking()
    await began.wait()
    ids += await crowd(shop, remote)
    asyncio.get_running_loop().call_later(0.1, may_go_on.set)
    await remote.close()
    assert await states(shop, ids) == ["settled"] * len(ids)
    assert await count(shop, "payment_slips") == 0
    assert await earned(shop) == len(ids) * PRICE


@pytest.mark.parametrize("size", [1, 2 * CROWD_MIN])
async def test_what_was_said_while_the_database_was_away_is_not_forgotten(
    shop: Shop, remote: Settlements, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The facilitator says it once, and neither a slip nor a booking could be written."""
    signed = [shop.sign() for _ in range(size)]
    ids = [await shop.claim(one) for one in signed]
    publisher_id = await Ledger(shop.pool).publisher(await Ledger(shop.pool).organization())
    used = {"publisher_id": str(publisher_id), "method": "GET", "path": "/x", "status": 200}
    settle, execute = payments.settle, shop.pool.execute

    async def refuse(*_: Any) -> None:
        raise asyncpg.CannotConnectNowError("starting up")

    async def refuse_slips(query: str, *values: Any) -> Any:
        return await (refuse() if query == bookings.SQL.write else execute(query, *values))

    monkeypatch.setattr(payments, "settle", refuse)
    monkeypatch.setattr(shop.pool, "execute", refuse_slips)
    told = await asyncio.gather(
        *(
            remote.settle(payment_id, one, dict(used), is_answered_first=True)
            for payment_id, one in zip(ids, signed, strict=True)
        ),
        return_exceptions=True,
    )
    assert all(isinstance(one, asyncpg.CannotConnectNowError) for one in told)
    monkeypatch.setattr(payments, "settle", settle)
    await remote.close()
    assert await states(shop, ids) == ["settled"] * size
    assert await earned(shop) == size * PRICE
