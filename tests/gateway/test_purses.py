import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.kit import ids
from gateway.kit.sql import Pool, create_pool
from gateway.ledger import accounts, purses, slips, telling
from gateway.ledger.holds import Holds
from gateway.ledger.purses import SQL, Purses
from gateway.ledger.spenders import CALLS_MIN, SHARE, Purse
from gateway.rails.drawn import charge_late
from tests.control.model.dying import Death, Gone, dying
from tests.gateway.charges import charge_of
from tests.gateway.conftest import USDC, Ledger, Seller
from tests.gateway.test_holds import plans

HOUR = timedelta(hours=1)
PRICE = 100
PLENTY = 1_000_000


@pytest.fixture
async def own(pool: Pool) -> AsyncIterator[Purses]:
    one = Purses(pool, HOUR)
    yield one
    await one.close()


@pytest.fixture
async def owner(ledger: Ledger) -> UUID:
    return await ledger.funded(PLENTY)


async def drawn(own: Purses, owner: UUID) -> Purse:
    """A purse, once its owner has called often enough; the calls before are not made."""
    for _ in range(CALLS_MIN):
        if (purse := own.draw(owner, USDC.id, PRICE)) is not None:
            own.put_back(purse, PRICE)
    await asyncio.gather(*own.crew.tasks)
    purse = own.draw(owner, USDC.id, PRICE)
    assert purse is not None
    return purse


async def purse_rows(pool: Pool) -> list[int]:
    return [row[0] for row in await pool.fetch("SELECT amount FROM purses ORDER BY id")]


async def test_who_calls_often_is_charged_with_one_commit_and_nothing_stays_behind(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    purse = await drawn(own, owner)
    [size] = await purse_rows(pool)
    assert await ledger.balance(owner) == (PLENTY, size)
    assert await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE, 7)))
    await own.slips.finish()
    assert await ledger.balance(owner) == (PLENTY - PRICE, size - PRICE)
    assert await ledger.balance(seller.organization_id, kind="earnings") == (PRICE - 7, 0)
    assert await ledger.balance(accounts.PLATFORM, kind="fees") == (7, 0)
    [used] = await pool.fetch(
        "SELECT outcome, cost, organization_id, asset_id, rail, status FROM usage_events"
    )
    assert tuple(used) == ("charged", PRICE, owner, USDC.id, "prepaid", 200)
    assert await ledger.is_sound()
    await own.close()
    assert await ledger.balance(owner) == (PLENTY - PRICE, 0)
    assert await purse_rows(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM holds") == 0


async def test_who_calls_rarely_or_has_little_gets_none(pool: Pool, ledger: Ledger, own: Purses) -> None:
    rich, poor = await ledger.organization(), await ledger.organization()
    await ledger.deposit(rich, PLENTY)
    await ledger.deposit(poor, (CALLS_MIN - 1) * PRICE * SHARE)
    for owner, calls in ((rich, CALLS_MIN - 1), (poor, 4 * CALLS_MIN)):
        assert [own.draw(owner, USDC.id, PRICE) for _ in range(calls)] == [None] * calls
        await asyncio.gather(*own.crew.tasks)
    assert await purse_rows(pool) == []
    assert await ledger.balance(poor) == ((CALLS_MIN - 1) * PRICE * SHARE, 0)


async def test_a_purse_is_a_share_of_what_is_left(pool: Pool, ledger: Ledger, own: Purses) -> None:
    owner = await ledger.funded(10 * PRICE * SHARE)
    for _ in range(100):
        own.draw(owner, USDC.id, PRICE)
    await asyncio.gather(*own.crew.tasks)
    assert await purse_rows(pool) == [10 * PRICE]
    draws = [own.draw(owner, USDC.id, PRICE) for _ in range(12)]
    assert [one is not None for one in draws] == [True] * 10 + [False] * 2


async def test_promotional_money_is_spent_first_as_ever(ledger: Ledger, owner: UUID, own: Purses) -> None:
    await ledger.fill_budget(PRICE)
    await ledger.grant(owner, PRICE)
    assert [own.draw(owner, USDC.id, PRICE) for _ in range(20)] == [None] * 20
    await asyncio.gather(*own.crew.tasks)
    assert own.draw(owner, USDC.id, PRICE) is None
    assert (await ledger.balance(owner))[1] == 0


async def test_what_nobody_uses_is_given_back_while_a_call_runs_on(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    purse = await drawn(own, owner)
    # The tick in which there were calls, one without, and one more.
    own.tick()
    own.tick()
    own.tick()
    await asyncio.gather(*own.crew.tasks)
    assert await ledger.balance(owner) == (PLENTY, PRICE)
    assert await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)))
    await own.slips.finish()
    await asyncio.gather(*own.crew.tasks)
    assert await ledger.balance(owner) == (PLENTY - PRICE, 0)
    assert await purse_rows(pool) == []
    assert own.spenders == {}


async def test_a_call_too_dear_for_what_is_left_beside_a_purse_gets_it_back(
    ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """What is set aside for calls that nobody made must not refuse the one that is made."""
    purse = await drawn(own, owner)
    holds = Holds(own.pool, HOUR)
    dear = seller.opening(owner, PLENTY - PRICE)
    assert (await holds.open(dear)).obstacle == "short"
    assert await own.give_up(owner, USDC.id, time.monotonic())
    assert (await holds.open(dear)).is_open
    assert not await own.give_up(owner, USDC.id, time.monotonic())
    assert await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)))
    await own.slips.finish()
    assert await ledger.is_sound()
    await holds.void(dear.call_id)
    await holds.close()


async def test_who_was_refused_while_somebody_else_gave_it_back_asks_again(
    seller: Seller, owner: UUID, own: Purses
) -> None:
    """The refusal is on its way to us when the other's money is back."""
    purse, holds = await drawn(own, owner), Holds(own.pool, HOUR)
    asked_seconds = time.monotonic()
    dear = seller.opening(owner, PLENTY - PRICE)
    assert (await holds.open(dear)).obstacle == "short"
    assert await own.give_up(owner, USDC.id, asked_seconds)
    assert await own.give_up(owner, USDC.id, asked_seconds)
    assert (await holds.open(dear)).is_open
    assert not await own.give_up(owner, USDC.id, time.monotonic())
    own.put_back(purse, PRICE)
    await holds.void(dear.call_id)
    await holds.close()


async def test_a_purse_that_is_being_taken_is_given_back_as_well(
    pool: Pool, ledger: Ledger, owner: UUID, own: Purses
) -> None:
    """A dear call in the moment of the many cheap ones must not be refused for what is set aside for them."""
    for _ in range(CALLS_MIN):
        assert own.draw(owner, USDC.id, PRICE) is None
    assert await own.give_up(owner, USDC.id, time.monotonic())
    assert await ledger.balance(owner) == (PLENTY, 0)
    assert await purse_rows(pool) == []


async def test_a_call_is_charged_once_however_often_it_is_asked(
    ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """The second batch has one that is charged and one that is not."""
    purse = await drawn(own, owner)
    assert own.draw(owner, USDC.id, PRICE) is purse
    first, second = (seller.posting(ids.new(), PRICE) for _ in range(2))
    own.crowd.count += 1
    purse.running += PRICE
    assert await own.charge(charge_of(purse, seller.earnings_id, first))
    await own.slips.finish()
    both = await asyncio.gather(
        *(own.charge(charge_of(purse, seller.earnings_id, one)) for one in (first, second))
    )
    assert both == [True, True]
    await own.slips.finish()
    assert (await ledger.balance(owner))[0] == PLENTY - 2 * PRICE
    assert await ledger.is_sound()


def lose_charge(
    monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Awaitable[object]] | None = None
) -> list[object]:
    """The first charge is committed, and nobody hears of it. What it would have said is in the list."""
    fetch, lost = asyncpg.Pool.fetch, list[object]()

    async def lose(self: Any, query: str, *args: Any, **more: Any) -> Any:
        rows = await fetch(self, query, *args, **more)
        if query == slips.SQL.write and not lost:
            lost.append(rows)
            if meanwhile is not None:
                await meanwhile()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed")
        return rows

    monkeypatch.setattr(asyncpg.Pool, "fetch", lose)
    return lost


async def test_a_charge_whose_commit_went_unheard_is_neither_lost_nor_doubled(
    ledger: Ledger, seller: Seller, owner: UUID, own: Purses, monkeypatch: pytest.MonkeyPatch
) -> None:
    purse = await drawn(own, owner)
    lost = lose_charge(monkeypatch)
    assert await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)))
    await own.slips.finish()
    assert len(lost) == 1
    await own.close()
    assert await ledger.balance(owner) == (PLENTY - PRICE, 0)
    assert await ledger.is_sound()


async def test_of_a_charge_that_is_not_known_the_sweeper_finds_the_rest(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that nobody waits for any more may still be running: what it would charge stays there."""
    own = Purses(pool, timedelta(seconds=-5))
    purse = await drawn(own, owner)
    assert own.draw(owner, USDC.id, PRICE) is purse

    async def silent(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(own.charges, "run", silent)
    with pytest.raises(TimeoutError):
        await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)))
    own.put_back(purse, PRICE)
    await own.close()
    assert await purse_rows(pool) == [PRICE]
    assert await ledger.is_sound()
    assert await purses.return_expired(pool) == 1
    assert await purses.return_expired(pool) == 0
    assert await ledger.balance(owner) == (PLENTY, 0)


async def test_what_a_dead_process_had_taken_is_given_back_and_pays_for_nothing_more(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID
) -> None:
    """A process that was stopped for so long that its purse is gone charges no call to it."""
    stopped = Purses(pool, timedelta(seconds=-5))
    purse = await drawn(stopped, owner)
    assert (await ledger.balance(owner))[1] > 0
    assert await purses.return_expired(pool) == 1
    assert await ledger.balance(owner) == (PLENTY, 0)
    assert stopped.draw(owner, USDC.id, PRICE) is purse
    assert not await stopped.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)))
    assert stopped.draw(owner, USDC.id, PRICE) is None
    stopped.put_back(purse, PRICE)
    await stopped.close()
    assert await ledger.balance(owner) == (PLENTY, 0)
    assert await ledger.is_sound()


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_call_whose_purse_is_gone_is_charged_to_the_balance_and_once(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses, *, is_late: bool
) -> None:
    """Also when its purse paid after all, by a commit that came through when that was asked about."""
    purse, holds = await drawn(own, owner), Holds(pool, HOUR)
    call_id = ids.new()
    posting = seller.posting(call_id, PRICE, 3)
    if is_late:
        assert await own.slips.write([charge_of(purse, seller.earnings_id, posting)]) == {purse.id}
    assert await holds.charge_late(seller.opening(owner, PRICE, call_id), posting)
    await own.slips.finish()
    own.put_back(purse, 0 if is_late else PRICE)
    purse.running = 0
    await own.close()
    await holds.close()
    assert await ledger.balance(owner) == (PLENTY - PRICE, 0)
    assert await pool.fetchval("SELECT count(*) FROM usage_events") == 1
    assert await ledger.is_sound()


async def test_a_late_charge_that_was_booked_meanwhile_is_not_made_again(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    purse, holds = await drawn(own, owner), Holds(pool, HOUR)
    call_id = ids.new()
    posting = seller.posting(call_id, PRICE, 3)
    assert await own.charge(charge_of(purse, seller.earnings_id, posting))
    await own.slips.finish()
    assert await holds.charge_late(seller.opening(owner, PRICE, call_id), posting)
    await own.close()
    await holds.close()
    assert await ledger.balance(owner) == (PLENTY - PRICE, 0)
    assert await ledger.is_sound()


class Late:
    """Calls that were served, and whose purse is gone; the balance has nothing beside the next one."""

    def __init__(self, own: Purses, seller: Seller, owner: UUID, lost: Purse) -> None:
        self.own, self.seller, self.owner, self.lost = own, seller, owner, lost
        self.holds = Holds(own.pool, HOUR)

    async def begin(self) -> None:
        """Somebody else returns the purse, as a sweeper does, and the next one is asked for."""
        await self.own.pool.execute(SQL.give_back, [self.lost.id], [0])
        self.lost.left = 0
        assert self.own.draw(self.owner, USDC.id, PRICE) is None

    async def hold_the_rest(self) -> UUID:
        rest = await accounts.available(self.own.pool, self.owner, USDC.id)
        opening = self.seller.opening(self.owner, rest)
        assert (await self.holds.open(opening)).is_open
        return opening.call_id

    async def charge(self) -> bool:
        call_id = ids.new()
        posting = self.seller.posting(call_id, PRICE, 3)
        assert not await self.own.charge(charge_of(self.lost, self.seller.earnings_id, posting))
        opening = self.seller.opening(self.owner, PRICE, call_id)
        return await charge_late(self.holds, self.own, opening, posting)


@pytest.fixture
async def late(own: Purses, seller: Seller, owner: UUID) -> AsyncIterator[Late]:
    one = Late(own, seller, owner, await drawn(own, owner))
    await one.begin()
    yield one
    await one.holds.close()


async def test_late_charges_find_what_is_in_the_next_purse(own: Purses, ledger: Ledger, late: Late) -> None:
    await asyncio.gather(*own.crew.tasks)
    rest_id = await late.hold_the_rest()
    own.crowd.count += 3
    assert await asyncio.gather(*(late.charge() for _ in range(3))) == [True] * 3
    await late.holds.void(rest_id)
    assert await ledger.balance(late.owner) == (PLENTY - 3 * PRICE, 0)
    assert await ledger.is_sound()


async def test_a_late_charge_waits_for_the_purse_that_is_being_given_back(
    own: Purses, ledger: Ledger, late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether another call gives it up or its time is over, the money is nowhere else meanwhile."""
    await asyncio.gather(*own.crew.tasks)
    rest_id = await late.hold_the_rest()
    may_return, returns = asyncio.Event(), own.returns.run

    async def slowly(batch: Any) -> Any:
        await may_return.wait()
        return await returns(batch)

    monkeypatch.setattr(own.returns, "run", slowly)
    # The tick in which there were calls, and one without, which retires it.
    own.tick()
    own.tick()
    own.crowd.count += 2
    async with asyncio.TaskGroup() as group:
        charging = [group.create_task(late.charge()) for _ in range(2)]
        done, _ = await asyncio.wait(charging, timeout=0.2)
        assert not done
        may_return.set()
    assert [one.result() for one in charging] == [True] * 2
    await late.holds.void(rest_id)
    assert await ledger.balance(late.owner) == (PLENTY - 2 * PRICE, 0)
    assert await ledger.is_sound()


async def test_a_late_charge_finds_no_more_than_the_balance_has(
    ledger: Ledger, pool: Pool, seller: Seller, owner: UUID
) -> None:
    holds, call_id = Holds(pool, HOUR), ids.new()
    dear = seller.opening(owner, PLENTY + 1, call_id)
    assert not await holds.charge_late(dear, seller.posting(call_id, PLENTY + 1))
    await holds.close()
    assert await ledger.balance(owner) == (PLENTY, 0)


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_process_that_is_gone_at_any_statement_loses_nobody_anything(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, at: int, is_after: bool
) -> None:
    """Of taking, charging and giving back; then the sweeper comes."""
    gone = Purses(pool, timedelta(seconds=-5))
    gone.charges.patience_seconds = 0
    call_id, is_told, purse = ids.new(), False, None
    with dying(Death(at, is_after)):
        for _ in range(CALLS_MIN + 1):
            if (purse := gone.draw(owner, USDC.id, PRICE)) is None:
                await asyncio.gather(*gone.crew.tasks)
        if purse is not None:
            with suppress(Gone):
                is_told = await gone.charge(
                    charge_of(purse, seller.earnings_id, seller.posting(call_id, PRICE))
                )
        await gone.close()
    assert await ledger.is_sound()
    await purses.return_expired(pool)
    assert await purse_rows(pool) == []
    charged = await pool.fetchval("SELECT count(*) FROM transfers WHERE cause_id = $1", call_id)
    assert is_told <= charged
    # At the first statement nothing was begun; at the second it depends on whether that came through.
    assert charged == (at > 2 or (at == 2 and is_after))
    assert await ledger.balance(owner) == (PLENTY - charged * PRICE, 0)
    assert await ledger.is_sound()


async def test_the_row_of_a_purse_stops_a_process_that_would_spend_more(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """Whatever a process believes: the constraint decides, and fails one call and not its neighbours.

    The purse is drawn on no more.
    """
    purse = await drawn(own, owner)
    [size] = await purse_rows(pool)
    amounts = (PRICE, size, PRICE)
    purse.running = own.crowd.count = sum(amounts)
    outcomes = await asyncio.gather(
        *(own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), one))) for one in amounts)
    )
    assert outcomes == [True, False, True]
    assert own.draw(owner, USDC.id, PRICE) is not purse
    await own.slips.finish()
    assert await ledger.balance(owner) == (PLENTY - 2 * PRICE, size - 2 * PRICE)
    assert await ledger.is_sound()


class Worker:
    """One of the processes that race: purses where there are some, and holds where there are none."""

    def __init__(self, pool: Pool, seller: Seller) -> None:
        self.purses, self.holds, self.seller = Purses(pool, HOUR), Holds(pool, HOUR), seller
        self.ended: Counter[str] = Counter()

    async def call(self, owner: UUID, n: int) -> None:
        await asyncio.sleep(n % 7 / 1000)
        purse = self.purses.draw(owner, USDC.id, PRICE)
        way = self.by_hold(owner, n) if purse is None else self.by_purse(purse, n)
        self.ended[await way] += 1

    async def by_purse(self, purse: Purse, n: int) -> str:
        if n % 5 == 0:
            self.purses.put_back(purse, PRICE)
            return "void"
        posting = self.seller.posting(ids.new(), PRICE, n % 3)
        assert await self.purses.charge(charge_of(purse, self.seller.earnings_id, posting))
        return "charged by purse"

    async def by_hold(self, owner: UUID, n: int) -> str:
        opening = self.seller.opening(owner, PRICE)
        if not (await self.holds.open(opening)).is_open:
            return "refused"
        if n % 5 == 0:
            await self.holds.void(opening.call_id)
            return "void"
        assert await self.holds.post(self.seller.posting(opening.call_id, PRICE, n % 3))
        return "charged by hold"

    async def close(self) -> None:
        await self.purses.close()
        await self.holds.close()


async def test_processes_on_one_balance_never_spend_more_than_it_has(
    crowd: Pool, ledger: Ledger, seller: Seller
) -> None:
    """Until nothing is left; sweepers among them."""
    owner = await ledger.organization()
    funds = 600 * PRICE
    await ledger.deposit(owner, funds)
    workers = [Worker(crowd, seller) for _ in range(3)]

    async def caller(first: int) -> None:
        for n in range(first, 1200, 30):
            await workers[n % 3].call(owner, n)

    async with asyncio.TaskGroup() as group:
        for first in range(30):
            group.create_task(caller(first))
        for _ in range(10):
            group.create_task(purses.return_expired(crowd))
    ended = sum((one.ended for one in workers), Counter[str]())
    for one in workers:
        await one.close()
    charged = ended["charged by purse"] + ended["charged by hold"]
    assert ended["charged by purse"] > 50
    assert ended["refused"] > 0
    assert await ledger.balance(owner) == (funds - charged * PRICE, 0)
    assert await ledger.is_sound()
    assert await purse_rows(crowd) == []


async def test_purses_of_many_owners_never_deadlock(crowd: Pool, ledger: Ledger, seller: Seller) -> None:
    owners = [await ledger.organization() for _ in range(6)]
    for owner in owners:
        await ledger.deposit(owner, PLENTY)
    processes = [Purses(crowd, HOUR) for _ in range(3)]
    calls = 0

    async def call(own: Purses, owner: UUID) -> None:
        nonlocal calls
        if (purse := own.draw(owner, USDC.id, PRICE)) is not None:
            assert await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE, 3)))
            calls += 1

    rounds = 0
    async with asyncio.timeout(120):
        # How many of a round meet a purse is up to the machine.
        while rounds < 6 or calls <= 300:
            async with asyncio.TaskGroup() as group:
                for n in range(180):
                    group.create_task(call(processes[n % 3], owners[n * 7 % 6]))
            for own in processes:
                await asyncio.gather(*own.crew.tasks)
                own.tick()
            rounds += 1
    await asyncio.gather(*(own.close() for own in processes))
    balances = [await ledger.balance(owner) for owner in owners]
    assert (sum(posted for posted, _ in balances), {held for _, held in balances}) == (
        6 * PLENTY - calls * PRICE,
        {0},
    )
    assert await ledger.is_sound()


async def test_a_purse_is_used_up_before_the_next_is_begun(
    ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    first = await drawn(own, owner)
    size = first.size // PRICE
    draws = [first]
    for _ in range(size + 4):
        await asyncio.gather(*own.crew.tasks)
        if (purse := own.draw(owner, USDC.id, PRICE)) is not None:
            draws.append(purse)
    assert [one is first for one in draws] == [True] * size + [False] * 5
    for purse in draws:
        assert await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)))
        await own.slips.finish()
    await own.close()
    assert await ledger.balance(owner) == (PLENTY - len(draws) * PRICE, 0)


async def test_a_purse_ends_though_its_owner_calls_on(
    owner: UUID, own: Purses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what changes about an account, a grant say, matters to its calls within a second."""
    purse = await drawn(own, owner)
    purse.ends_seconds = time.monotonic() - 1
    assert own.draw(owner, USDC.id, PRICE) is None
    own.tick()
    assert purse.is_retired
    own.put_back(purse, PRICE)


async def test_low_balances_are_told_of_charges_from_purses(
    ledger: Ledger, seller: Seller, owner: UUID, own: Purses, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    async def tell(pool: Pool, statement: str, *values: Any) -> None:
        told.append(values[2])

    monkeypatch.setattr(telling, "tell", tell)
    purse = await drawn(own, owner)
    for _ in range(3):
        assert own.draw(owner, USDC.id, PRICE) is purse
    for _ in range(3):
        posting = replace(seller.posting(ids.new(), PRICE), alert_below=PLENTY - 150)
        assert await own.charge(charge_of(purse, seller.earnings_id, posting))
        await own.slips.finish()
    assert told == [str(PLENTY - 2 * PRICE)]


async def test_nothing_of_a_purse_reads_a_whole_table(server: str, database: str) -> None:
    await plans(server, database, SQL, ("take", "give_back"))
    await plans(server, database, slips.SQL, ("write", "book", "book_rest"))


@pytest.mark.parametrize("name", ["book", "book_rest"])
async def test_calls_are_not_looked_for_among_all_charges_of_their_statement(
    server: str, database: str, name: str
) -> None:
    """Where many call many, that was so long for a backlog that it never ended, nor began in halves."""
    async with create_pool(server, database=database, is_planned_once=True) as pool, pool.acquire() as one:
        explain = await one.prepare(f"EXPLAIN (GENERIC_PLAN) {getattr(slips.SQL, name)}")
        lines = [row[0] for row in await explain.fetch(*[None for _ in explain.get_parameters()])]
    assert not [line for line in lines if "Join Filter" in line and "publisher_id" in line]


async def test_a_charge_that_went_unheard_stands_when_its_purse_is_gone(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Used up and given back, or expired, before it is asked for again."""
    purse = await drawn(own, owner)
    lose_charge(monkeypatch, lambda: pool.execute(SQL.give_back, [purse.id], [0]))
    assert await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)))
    await own.slips.finish()
    await own.close()
    assert await ledger.balance(owner) == (PLENTY - PRICE, 0)
    assert await ledger.is_sound()
