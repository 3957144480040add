import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, holds
from gateway.ledger.holds import Holds
from tests.gateway.conftest import EURC, USDC, Ledger, Seller


async def test_sixty_calls_on_a_balance_for_ten_give_ten(crowd: Pool, ledger: Ledger, seller: Seller) -> None:
    """Four processes, each with batches of its own, on one account."""
    owner = await ledger.organization()
    await ledger.deposit(owner, 1000)
    processes = [Holds(crowd, timedelta(hours=1)) for _ in range(4)]
    opened = await asyncio.gather(*(processes[n % 4].open(seller.opening(owner, 100)) for n in range(60)))
    assert sum(one.is_open for one in opened) == 10
    assert await ledger.balance(owner) == (1000, 1000)
    assert await ledger.is_sound()


async def test_a_call_too_dear_does_not_stand_in_the_way_of_a_cheap_one(
    ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    owner = await ledger.organization()
    await ledger.deposit(owner, 100)
    asked = [seller.opening(owner, amount) for amount in (101, 60, 60, 40)]
    assert [one.is_open for one in await holds.open_batch(asked)] == [False, True, False, True]


async def test_an_owner_without_an_account_opens_nothing(
    ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    assert not (await holds.open(seller.opening(uuid4(), 1))).is_open


async def test_a_balance_in_one_asset_buys_nothing_priced_in_another(
    ledger: Ledger, pool: Pool, seller: Seller, holds: Holds
) -> None:
    owner = await ledger.organization()
    await ledger.deposit(owner, 1000, EURC)
    assert not (await holds.open(seller.opening(owner, 100))).is_open
    # Nor may a hold name accounts of two assets, should a caller of this module ever mix them up.
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await holds.open(replace(seller.opening(owner, 100), asset_id=EURC.id))


@pytest.mark.parametrize(
    ("spent", "fee", "earned"), [(0, 0, 0), (1, 0, 1), (70, 7, 63), (100, 100, 0), (100, 0, 100)]
)
async def test_post_charges_a_part_and_frees_the_rest(
    ledger: Ledger, seller: Seller, holds: Holds, spent: int, fee: int, earned: int
) -> None:
    owner = await ledger.organization()
    await ledger.deposit(owner, 1000)
    opening = seller.opening(owner, 100)
    assert (await holds.open(opening)).is_open
    assert await holds.post(seller.posting(opening.call_id, spent, fee))
    assert await ledger.balance(owner) == (1000 - spent, 0)
    assert await ledger.balance(seller.organization_id, kind="earnings") == (earned, 0)
    assert await ledger.balance(accounts.PLATFORM, kind="fees") == (fee, 0)
    assert await ledger.is_sound()


@pytest.mark.parametrize("spent", [-1, 101])
async def test_post_charges_between_nothing_and_the_hold(
    ledger: Ledger, seller: Seller, holds: Holds, spent: int
) -> None:
    owner = await ledger.organization()
    await ledger.deposit(owner, 1000)
    opening = seller.opening(owner, 100)
    await holds.open(opening)
    with pytest.raises(asyncpg.CheckViolationError):
        await holds.post(seller.posting(opening.call_id, spent))
    assert await ledger.balance(owner) == (1000, 100)


async def test_one_bad_posting_does_not_fail_its_batch(ledger: Ledger, seller: Seller, holds: Holds) -> None:
    owner = await ledger.organization()
    await ledger.deposit(owner, 1000)
    openings = [seller.opening(owner, 100) for _ in range(3)]
    await asyncio.gather(*(holds.open(one) for one in openings))
    spent = (100, 101, 100)
    outcomes = await asyncio.gather(
        *(holds.post(seller.posting(one.call_id, cost)) for one, cost in zip(openings, spent, strict=True)),
        return_exceptions=True,
    )
    assert [one if isinstance(one, bool) else type(one) for one in outcomes] == [
        True,
        asyncpg.CheckViolationError,
        True,
    ]
    assert await ledger.balance(owner) == (800, 100)
    assert await ledger.is_sound()


async def test_racing_to_close_a_hold_closes_it_once(crowd: Pool, ledger: Ledger, seller: Seller) -> None:
    owner = await ledger.organization()
    await ledger.deposit(owner, 1000)
    processes = [Holds(crowd, timedelta(0)) for _ in range(4)]
    opening = seller.opening(owner, 100)
    assert (await processes[0].open(opening)).is_open
    closings = [
        closing
        for process in processes
        for closing in (
            process.post(seller.posting(opening.call_id, 70)),
            process.void(opening.call_id),
            holds.void_expired(crowd),
        )
    ]
    assert sum(await asyncio.gather(*closings)) == 1
    assert (await ledger.balance(owner))[1] == 0
    assert await ledger.is_sound()


async def test_processes_that_settle_for_each_other_never_deadlock(
    crowd: Pool, ledger: Ledger, seller: Seller
) -> None:
    """Many payers, two publishers, batches in random company, a sweeper among them."""
    owners = [await ledger.organization() for _ in range(8)]
    for owner in owners:
        await ledger.deposit(owner, 100_000)
    other = Seller(
        owners[0],
        await ledger.publisher(owners[0]),
        await accounts.ensure(crowd, owners[0], USDC.id, "earnings"),
    )
    processes = [Holds(crowd, timedelta(hours=1)) for _ in range(4)]

    async def call(n: int) -> None:
        process, payee = processes[n % 4], (seller, other)[n % 2]
        opening = payee.opening(owners[n * 7 % 8], 10)
        assert (await process.open(opening)).is_open
        if n % 5:
            assert await process.post(payee.posting(opening.call_id, 7, 1))
        else:
            assert await process.void(opening.call_id)

    async with asyncio.TaskGroup() as group:
        for n in range(600):
            group.create_task(call(n))
        for _ in range(20):
            group.create_task(holds.void_expired(crowd))
    assert await ledger.is_sound()
    balances = [await ledger.balance(owner) for owner in owners]
    assert (sum(posted for posted, _ in balances), {held for _, held in balances}) == (800_000 - 480 * 7, {0})


async def test_the_sweeper_voids_what_expired_and_nothing_else(
    pool: Pool, ledger: Ledger, seller: Seller
) -> None:
    owner = await ledger.organization()
    await ledger.deposit(owner, 1000)
    for lifetime in (timedelta(0), timedelta(0), timedelta(hours=1)):
        await Holds(pool, lifetime).open(seller.opening(owner, 100))
    assert await holds.void_expired(pool) == 2
    assert await holds.void_expired(pool) == 0
    assert await ledger.balance(owner) == (1000, 100)


async def test_entries_sum_to_zero_and_stay(pool: Pool, ledger: Ledger) -> None:
    account_id = await ledger.deposit(await ledger.organization(), 1000)
    transfer_id = ids.new()
    await pool.execute("INSERT INTO transfers VALUES ($1, 'deposit', $1, 'x')", transfer_id)
    with pytest.raises(asyncpg.CheckViolationError, match="sum to zero"):
        await pool.execute("INSERT INTO entries VALUES ($1, $2, 5)", transfer_id, account_id)
    for change in (
        "UPDATE entries SET amount = 1",
        "DELETE FROM entries",
        "TRUNCATE entries",
        "DELETE FROM transfers",
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
            await pool.execute(change)


async def test_amounts_are_exact_at_78_digits(ledger: Ledger, seller: Seller, holds: Holds) -> None:
    most = 10**78 - 1
    owner = await ledger.organization()
    await ledger.deposit(owner, most)
    opening = seller.opening(owner, most)
    assert (await holds.open(opening)).is_open
    assert await holds.post(seller.posting(opening.call_id, most - 1))
    assert await ledger.balance(owner) == (1, 0)


async def test_test_money_buys_no_live_call(pool: Pool, ledger: Ledger) -> None:
    """An account is as live or as test as its asset, whatever an insert claims."""
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await pool.execute(
            "INSERT INTO accounts (id, owner_id, asset_id, mode, kind) VALUES ($1, $2, $3, 'live', 'funded')",
            uuid4(),
            await ledger.organization(),
            USDC.id,
        )
