import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.kit import ids
from gateway.kit.sql import Pool, Statements, create_pool
from gateway.ledger import accounts, holds
from gateway.ledger.batches import Opening, Verdict
from gateway.ledger.holds import SQL, Holds
from tests.gateway.conftest import EURC, USDC, Ledger, Seller


async def test_sixty_calls_on_a_balance_for_ten_give_ten(crowd: Pool, ledger: Ledger, seller: Seller) -> None:
    """Four processes, each with batches of its own, on one account."""
    owner = await ledger.funded(1000)
    processes = [Holds(crowd, timedelta(hours=1)) for _ in range(4)]
    opened = await asyncio.gather(*(processes[n % 4].open(seller.opening(owner, 100)) for n in range(60)))
    assert sum(one.is_open for one in opened) == 10
    assert await ledger.balance(owner) == (1000, 1000)
    assert await ledger.is_sound()


async def test_a_call_too_dear_does_not_stand_in_the_way_of_a_cheap_one(
    ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    owner = await ledger.funded(100)
    asked = [seller.opening(owner, amount) for amount in (101, 60, 60, 40)]
    assert [one.is_open for one in await holds.open_batch(asked)] == [False, True, False, True]


async def test_a_crowd_without_money_is_refused_by_one_statement(
    ledger: Ledger, seller: Seller, holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one caller's flood would make everybody wait for as many statements."""
    asked: list[int] = []
    one_by_one = holds.try_open

    async def counted(batch: Sequence[Opening]) -> dict[UUID, Verdict]:
        asked.append(len(batch))
        return await one_by_one(batch)

    monkeypatch.setattr(holds, "try_open", counted)
    poor, rich = await ledger.organization(), await ledger.organization()
    await ledger.deposit(poor, 150)
    await ledger.deposit(rich, 1000)
    amounts = [100] * 20 + [101, 60, 50]
    crowd = [seller.opening(poor, amount) for amount in amounts] + [seller.opening(rich, 100)]
    opened = [one.is_open for one in await holds.open_batch(crowd)]
    assert opened == [True] + [False] * 20 + [False, True] + [True]
    # Of those that were refused, only the two cheaper ones could have fitted.
    assert asked == [len(crowd), 1, 1]
    assert await ledger.balance(poor) == (150, 150)


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
    owner = await ledger.funded(1000)
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
    owner = await ledger.funded(1000)
    opening = seller.opening(owner, 100)
    await holds.open(opening)
    with pytest.raises(asyncpg.CheckViolationError):
        await holds.post(seller.posting(opening.call_id, spent))
    assert await ledger.balance(owner) == (1000, 100)


async def test_one_bad_posting_does_not_fail_its_batch(ledger: Ledger, seller: Seller, holds: Holds) -> None:
    owner = await ledger.funded(1000)
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
    owner = await ledger.funded(1000)
    processes = [Holds(crowd, timedelta(0)) for _ in range(4)]
    opening = seller.opening(owner, 100)
    assert (await processes[0].open(opening)).is_open
    posting = seller.posting(opening.call_id, 70)
    posting_all = asyncio.gather(*(process.post(posting) for process in processes))
    closed: list[int] = await asyncio.gather(
        *(process.void(opening.call_id) for process in processes),
        *(holds.void_expired(crowd) for _ in range(4)),
    )
    posted = await posting_all
    # All of the call's postings are one: they say that it was posted, whichever of them did it.
    assert sum(closed) + any(posted) == 1
    assert len(set(posted)) == 1
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
    owner = await ledger.funded(1000)
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


async def test_what_the_ledger_refers_to_exists_and_stays(
    pool: Pool, ledger: Ledger, seller: Seller, holds: Holds
) -> None:
    """Checked once for each statement, in place of foreign keys that ask for each row."""
    owner = await ledger.organization()
    account_id = await ledger.deposit(owner, 1000)
    opening = seller.opening(owner, 100)
    assert (await holds.open(opening)).is_open
    assert await holds.post(seller.posting(opening.call_id, 100))
    entries = "INSERT INTO entries VALUES ($1, $2, 5), ($1, $3, -5)"
    used = (
        "INSERT INTO usage_events"
        " (call_id, publisher_id, organization_id, asset_id, rail, method, path, outcome)"
        " VALUES (gen_random_uuid(), $1, $2, $3, 'free', 'GET', '/', 'free')"
    )
    publisher_id, nobody = seller.publisher_id, uuid4()
    for statement, *values in (
        (entries, opening.call_id, uuid4(), uuid4()),
        (entries, nobody, account_id, seller.earnings_id),
        (used, nobody, owner, USDC.id),
        (used, publisher_id, nobody, USDC.id),
        (used, publisher_id, owner, nobody),
    ):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await pool.execute(statement, *values)
    for change in (
        "DELETE FROM accounts",
        "UPDATE accounts SET asset_id = gen_random_uuid()",
        "DELETE FROM assets",
        "DELETE FROM publishers",
        "UPDATE holds SET payee_id = payer_id",
        "UPDATE usage_events SET publisher_id = gen_random_uuid()",
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
            await pool.execute(change)
    assert await ledger.is_sound()


async def test_nothing_of_a_call_reads_a_whole_table(server: str, database: str) -> None:
    """Whatever the statistics say: as long as a table is new they say that reading all of it is cheap."""
    await plans(server, database, SQL, ("open", "open_bound", "post", "posted", "give_back", "void"))


async def plans(server: str, database: str, statements: Statements, names: Sequence[str]) -> None:
    async with create_pool(server, database=database, is_planned_once=True) as pool, pool.acquire() as one:
        for name in names:
            explain = await one.prepare(f"EXPLAIN (GENERIC_PLAN) {getattr(statements, name)}")
            lines = [row[0].strip() for row in await explain.fetch(*[None for _ in explain.get_parameters()])]
            scans = [
                at for at, line in enumerate(lines) if re.search(r"(Index|Index Only|Seq|Tid) Scan", line)
            ]
            assert all("Index Cond" in lines[at + 1] for at in scans), (name, lines)
            assert not [line for line in lines if "expires_at" in line and "Scan" in line], name


async def test_amounts_are_exact_at_78_digits(ledger: Ledger, seller: Seller, holds: Holds) -> None:
    most = 10**78 - 1
    owner = await ledger.funded(most)
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
