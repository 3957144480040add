import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from gateway.kit import ids
from gateway.kit.sql import Pool, listed
from gateway.ledger import accounts, purses, slips
from gateway.ledger.purses import Purses
from gateway.ledger.spenders import Purse
from tests.gateway.charges import charge_of, purse_of
from tests.gateway.conftest import USDC, Ledger, Seller
from tests.waiting import until

PRICE = 100
PLENTY = 1_000_000


@pytest.fixture
async def own(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Purses]:
    """It books when it is told to."""
    monkeypatch.setattr(slips, "BOOK_SECONDS", 3600)
    one = Purses(pool, timedelta(hours=1))
    yield one
    await one.close()


@pytest.fixture
async def owner(ledger: Ledger) -> UUID:
    return await ledger.funded(PLENTY)


async def drawn(own: Purses, owner: UUID, calls: int) -> Purse:
    return await purse_of(own, owner, USDC.id, [PRICE] * calls)


async def count(pool: Pool, table: str) -> int:
    return int(await pool.fetchval(f"SELECT count(*) FROM {table}"))


async def test_a_charge_is_on_the_ledger_a_moment_after_it_is_durable(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """The money is held throughout, so nobody else can spend it meanwhile."""
    purse = await drawn(own, owner, 3)
    _, held = await ledger.balance(owner)
    charges = [
        own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE, 7)))
        for _ in range(3)
    ]
    assert await asyncio.gather(*charges) == [True] * 3
    assert (await count(pool, "slips"), await count(pool, "usage_events")) == (1, 0)
    assert await ledger.balance(owner) == (PLENTY, held)
    assert await ledger.is_sound()
    await own.slips.finish()
    assert (await count(pool, "slips"), await count(pool, "usage_events")) == (0, 3)
    assert await ledger.balance(owner) == (PLENTY - 3 * PRICE, held - 3 * PRICE)
    assert await ledger.balance(seller.organization_id, kind="earnings") == (3 * (PRICE - 7), 0)
    assert await ledger.balance(accounts.PLATFORM, kind="fees") == (21, 0)
    assert await ledger.is_sound()


async def test_what_a_dead_process_had_charged_is_booked_by_the_next_or_by_the_sweeper(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    purse = await drawn(own, owner, 2)
    for is_swept in (False, True):
        assert await own.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)))
        own.slips.waiting.clear()
        if is_swept:
            await purses.return_expired(pool)
        else:
            await Purses(pool, timedelta(hours=1)).start()
        assert await count(pool, "slips") == 0
    assert (await ledger.balance(owner))[0] == PLENTY - 2 * PRICE
    assert await ledger.is_sound()


async def test_the_slip_of_a_call_that_took_long_is_left_to_who_tells_of_the_balance(
    pool: Pool, seller: Seller, owner: UUID, own: Purses
) -> None:
    """The sweeper takes what was written two seconds ago: the call may have begun an hour before."""
    purse = await drawn(own, owner, 1)
    hour_ago = (time.time_ns() // 1_000_000 - 3_600_000).to_bytes(6, "big")
    call_id = UUID(bytes=hour_ago + ids.new().bytes[6:])
    posting = replace(seller.posting(call_id, PRICE), alert_below=PLENTY)
    assert await own.charge(charge_of(purse, seller.earnings_id, posting))
    await purses.return_expired(pool, slip_age=timedelta(seconds=2))
    assert await count(pool, "slips") == 1
    await own.slips.finish()
    assert await pool.fetchval("SELECT type FROM events") == "wallet.balance_low"


async def test_a_process_that_is_killed_between_a_charge_and_its_booking_loses_neither(
    server: str, database: str, pool: Pool, ledger: Ledger, seller: Seller, owner: UUID
) -> None:
    """By SIGKILL, once the charge is durable."""
    whose = [str(one) for one in (owner, USDC.id, seller.earnings_id, seller.publisher_id)]
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.gateway.killed", server, database, *whose
    )
    assert await killed.wait() == -signal.SIGKILL
    assert (await count(pool, "slips"), await count(pool, "usage_events")) == (1, 0)
    assert await ledger.is_sound()
    await purses.return_expired(pool)
    assert (await count(pool, "slips"), await count(pool, "purses"), await count(pool, "usage_events")) == (
        0,
        0,
        1,
    )
    assert await ledger.balance(owner) == (PLENTY - PRICE, 0)
    assert await ledger.is_sound()


async def test_a_call_that_was_written_twice_is_charged_once_and_its_neighbour_too(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """By a commit that came through after it was asked about: what it took a second time goes back."""
    purse = await drawn(own, owner, 4)
    first, second, third = (
        charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE, 3)) for _ in range(3)
    )
    for batch in ([first, second], [second, first], [third]):
        assert await own.slips.write(batch) == {purse.id}
    await own.slips.finish()
    assert await own.slips.write([first]) == {purse.id}
    await own.slips.finish()
    purse.left -= 3 * PRICE
    purse.running = 0
    assert (await count(pool, "usage_events"), await count(pool, "slips")) == (3, 0)
    assert (await ledger.balance(owner))[0] == PLENTY - 3 * PRICE
    assert await ledger.is_sound()
    await own.close()
    assert await ledger.balance(owner) == (PLENTY - 3 * PRICE, 0)


async def test_of_calls_that_were_partly_written_twice_a_transfer_is_of_the_rest(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """And no usage row names one that it is not in."""
    purse = await drawn(own, owner, 6)
    first, second, third, fourth = (
        charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE, 3)) for _ in range(4)
    )
    for batch in ([first, second], [third, first, fourth, second]):
        assert await own.slips.write(batch) == {purse.id}
        await own.slips.finish()
    rows = await pool.fetch("SELECT call_id, charged_as FROM usage_events")
    found = {row["call_id"]: row["charged_as"] for row in rows}
    pairs = [{first.call_id, second.call_id}, {third.call_id, fourth.call_id}]
    assert found == {call_id: max(pair) for pair in pairs for call_id in pair}
    charged = await pool.fetch("SELECT id, calls FROM transfers WHERE kind = 'charge'")
    assert {row["id"]: row["calls"] for row in charged} == {max(pair): 2 for pair in pairs}
    purse.left -= 4 * PRICE
    purse.running = 0
    assert (await ledger.balance(owner))[0] == PLENTY - 4 * PRICE
    assert await ledger.is_sound()


async def test_what_cannot_be_booked_stays_and_is_in_nobodys_way(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """Of a bug: a payee that is none."""
    purse = await drawn(own, owner, 5)
    batches = [
        [charge_of(purse, payee, seller.posting(ids.new(), PRICE))]
        for payee in [seller.earnings_id] * 2 + [ids.new()] + [seller.earnings_id] * 2
    ]
    for batch in batches:
        await own.slips.write(batch)
    await own.slips.finish()
    assert await pool.fetchval("SELECT call_id FROM slips") == batches[2][0].call_id
    assert (await ledger.balance(owner))[0] == PLENTY - 4 * PRICE
    await slips.book_left_over(pool)
    assert await count(pool, "slips") == 1
    assert await ledger.is_sound()


async def test_whoever_books_them_books_each_once(
    crowd: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    purse = await drawn(own, owner, 12)
    for _ in range(12):
        await own.slips.write([charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE, 1))])
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(slips.book_left_over(crowd))
        group.create_task(own.slips.finish())
    assert (await ledger.balance(owner))[0] == PLENTY - 12 * PRICE
    assert (await count(crowd, "slips"), await count(crowd, "usage_events")) == (0, 12)
    assert await ledger.is_sound()


async def test_whoever_books_locks_them_in_one_order(
    pool: Pool, seller: Seller, owner: UUID, own: Purses
) -> None:
    """However that is planned: two who have some of the same wait for each other, and not in a circle."""
    purse = await drawn(own, owner, 2)
    # Of one millisecond, they are in any order.
    first, last = sorted(ids.new() for _ in range(2))
    for call_id in (last, first):
        await own.slips.write([charge_of(purse, seller.earnings_id, seller.posting(call_id, PRICE))])
    lock = "SELECT FROM slips WHERE call_id = $1 FOR UPDATE NOWAIT"
    async with asyncio.TaskGroup() as group, pool.acquire() as connection, connection.transaction():
        await connection.execute(lock, first)
        group.create_task(slips.book(pool, [last, first]))
        await until(lambda: is_waiting(pool))
        await connection.execute(lock, last)
    assert await count(pool, "slips") == 0


async def is_waiting(pool: Pool) -> bool:
    """Somebody, for a lock in this database."""
    here = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await pool.fetchval(f"SELECT EXISTS ({here})"))


async def test_an_id_in_another_calls_path_says_nothing_of_its_call(
    seller: Seller, owner: UUID, own: Purses
) -> None:
    """An upstream is told a call's id before that is charged, and may put it anywhere."""
    purse = await drawn(own, owner, 3)
    names = [ids.new() for _ in range(3)]
    postings = [seller.posting(name, PRICE) for name in names]
    postings[1] = replace(postings[1], path=f"/{names[2]}")
    first, second, other = (charge_of(purse, seller.earnings_id, one) for one in postings)
    await own.slips.write([first, second])
    assert await own.slips.charged([first, second, other]) == {names[0], names[1]}


async def test_who_is_far_behind_with_booking_pays_by_holds(
    owner: UUID, own: Purses, monkeypatch: pytest.MonkeyPatch
) -> None:
    purse = await drawn(own, owner, 1)
    monkeypatch.setattr(slips, "WAITING_MAX", -1)
    assert own.draw(owner, USDC.id, PRICE) is None
    monkeypatch.undo()
    own.put_back(purse, PRICE)


async def test_a_text_that_would_be_read_as_several_is_not_written(seller: Seller) -> None:
    for sign in (slips.CALL, slips.FIELD, slips.LINE, slips.SLIP):
        posting = replace(seller.posting(ids.new(), PRICE), description=f"a{sign}b")
        with pytest.raises(ValueError, match="stand between"):
            charge_of(Purse(ids.new(), PRICE, 0), ids.new(), posting)


async def test_calls_that_are_alike_share_a_line_and_others_have_their_own(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    purse = await drawn(own, owner, 5)
    postings = [
        replace(seller.posting(ids.new(), PRICE), path=path, status=status)
        for path, status in (("/a", 200), ("/b", 200), ("/a", 200), ("/a", 206), ("/b", 200))
    ]
    await asyncio.gather(*(own.charge(charge_of(purse, seller.earnings_id, one)) for one in postings))
    assert (await pool.fetchval("SELECT calls FROM slips")).count(slips.LINE) == 2
    await own.slips.finish()
    rows = await pool.fetch("SELECT call_id, path, status FROM usage_events")
    assert {tuple(row) for row in rows} == {(one.call_id, one.path, one.status) for one in postings}
    assert await ledger.is_sound()


async def test_slips_of_the_release_before_are_booked_and_found(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """While processes are replaced one by one. It wrote a line for each call, and nothing behind its id."""
    purse = await drawn(own, owner, 2)
    charges = [charge_of(purse, seller.earnings_id, seller.posting(ids.new(), PRICE)) for _ in range(2)]
    lines = slips.LINE.join(f"{one.call_id}{slips.FIELD}{one.said}" for one in charges)
    await pool.fetch(
        slips.SQL.write, listed([purse.id]), listed([charges[0].call_id]), listed([2 * PRICE]), lines
    )
    assert await own.slips.charged(charges) == {one.call_id for one in charges}
    await slips.book_left_over(pool)
    assert await own.slips.charged(charges) == {one.call_id for one in charges}
    assert (await count(pool, "usage_events"), await count(pool, "slips")) == (2, 0)
    purse.running = 0
    assert await ledger.is_sound()


async def test_what_a_publisher_charges_somebody_for_many_calls_is_one_transfer(
    pool: Pool, ledger: Ledger, seller: Seller, owner: UUID, own: Purses
) -> None:
    """Each call has its usage row, which names it; who made one call has a transfer of that call."""
    other = replace(seller, publisher_id=await ledger.publisher(seller.organization_id))
    alone = await ledger.funded(PLENTY)
    kinds = (seller, 7, "/a"), (other, 5, "/b"), (seller, 0, "/c"), (other, 0, "/d"), (seller, 3, "/a")
    many = [replace(one.posting(ids.new(), PRICE, fee), path=path) for one, fee, path in kinds]
    single = seller.posting(ids.new(), PRICE, 1)
    purse, its = await drawn(own, owner, 5), await drawn(own, alone, 1)
    posted = [charge_of(purse, seller.earnings_id, one) for one in many]
    await asyncio.gather(*map(own.charge, [*posted, charge_of(its, seller.earnings_id, single)]))
    await own.slips.finish()

    rows = await pool.fetch("SELECT call_id, publisher_id, charged_as FROM usage_events")
    named = {row["call_id"]: row["charged_as"] for row in rows}
    assert named[single.call_id] is None
    transfers = await pool.fetch(
        "SELECT id, calls, description, sum(amount) FILTER (WHERE account_id = $1) AS earned"
        " FROM transfers JOIN entries ON transfer_id = id WHERE kind = 'charge' GROUP BY id",
        seller.earnings_id,
    )
    found = {row["id"]: (row["calls"], row["description"], row["earned"]) for row in transfers}
    # As old as the last of them, so that earnings are not older than any call.
    last, last_of_other = (max(many[at].call_id for at in those) for those in ((0, 2, 4), (1, 3)))
    assert found == {
        single.call_id: (1, "GET /x", PRICE - 1),
        last: (3, "GET /x and 2 more", 3 * PRICE - 10),
        last_of_other: (2, "GET /x and 1 more", 2 * PRICE - 5),
    }
    assert [named[one.call_id] for one in many] == [last, last_of_other, last, last_of_other, last]
    assert await ledger.balance(accounts.PLATFORM, kind="fees") == (16, 0)
    assert await ledger.is_sound()
