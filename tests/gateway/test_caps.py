"""Caps of API keys, and the idempotency keys of calls: what the statement that takes a hold enforces."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from control.identity import keys
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, caps
from gateway.ledger import holds as ledger_holds
from gateway.ledger.batches import Opening
from gateway.ledger.caps import Caps
from gateway.ledger.holds import Holds
from tests.gateway.conftest import USDC, Ledger, Seller

HOUR = timedelta(hours=1)


async def key_of(pool: Pool, owner: UUID, limits: Caps) -> UUID:
    row, _ = await keys.issue(pool, keys.NewKey(owner, accounts.PLATFORM, "k", "user", "test"))
    key_id: UUID = row["id"]
    await caps.put(pool, key_id, limits)
    return key_id


@pytest.fixture
async def owner(ledger: Ledger) -> UUID:
    return await ledger.funded(100_000)


def capped(seller: Seller, owner: UUID, amount: int, key_id: UUID) -> Opening:
    return replace(seller.opening(owner, amount), key_id=key_id)


async def spent(pool: Pool, key_id: UUID) -> tuple[int, int]:
    found = (await caps.find(pool, [key_id]))[key_id]
    return found.spent_today, found.spent_total


async def events(pool: Pool) -> list[tuple[str, Any]]:
    rows = await pool.fetch("SELECT type, payload FROM events ORDER BY created_at")
    return [(row["type"], row["payload"]) for row in rows]


@pytest.mark.parametrize("limits", [Caps(per_day=1000), Caps(total=1000), Caps(100, 1000, 1000)])
async def test_sixty_calls_on_a_cap_for_ten_give_ten(
    crowd: Pool, seller: Seller, owner: UUID, ledger: Ledger, limits: Caps
) -> None:
    """Four processes, each with batches of its own, on one key."""
    key_id = await key_of(crowd, owner, limits)
    processes = [Holds(crowd, HOUR) for _ in range(4)]
    asked = [processes[n % 4].open(capped(seller, owner, 100, key_id)) for n in range(60)]
    verdicts = await asyncio.gather(*asked)
    assert sum(one.is_open for one in verdicts) == 10
    assert await spent(crowd, key_id) == (1000, 1000)
    assert (await ledger.balance(owner))[1] == 1000
    assert await ledger.is_sound()
    # One event for coming near and one for each cap that was met, however many calls were refused.
    told = [(kind, payload["cap"]) for kind, payload in await events(crowd)]
    assert len(told) == len(set(told))
    assert {kind for kind, _ in told} == {"key.cap_near", "key.cap_reached"}


@pytest.mark.parametrize(
    ("limits", "amounts", "obstacle", "remaining"),
    [
        (Caps(per_call=100), [100, 101], "per_call", 100),
        (Caps(per_day=250), [100, 100, 100], "per_day", 50),
        (Caps(total=250), [100, 100, 100], "total", 50),
        (Caps(per_day=300, total=250), [100, 100, 100], "total", 50),
        (Caps(total=0), [1], "total", 0),
        (Caps(), [99_999, 2], "short", 0),
        (Caps(per_day=10), [100_001], "per_day", 10),  # the cap, rather than a deposit that would not help
    ],
)
async def test_a_refusal_names_the_cap_and_what_is_left(
    pool: Pool, seller: Seller, owner: UUID, holds: Holds,
    limits: Caps, amounts: list[int], obstacle: str, remaining: int,
) -> None:  # fmt: skip
    key_id = await key_of(pool, owner, limits)
    verdicts = [await holds.open(capped(seller, owner, amount, key_id)) for amount in amounts]
    assert [one.is_open for one in verdicts[:-1]] == [True] * (len(amounts) - 1)
    assert (verdicts[-1].obstacle, verdicts[-1].remaining) == (obstacle, remaining)


async def test_what_is_not_spent_is_given_back(
    pool: Pool, seller: Seller, owner: UUID, holds: Holds, ledger: Ledger
) -> None:
    key_id = await key_of(pool, owner, Caps(total=300))
    first, second, third = (capped(seller, owner, 100, key_id) for _ in range(3))
    for one in (first, second, third):
        assert (await holds.open(one)).is_open
    await holds.void(first.call_id)
    await holds.post(replace(seller.posting(second.call_id, 30), is_partial=True))
    await holds.post(seller.posting(third.call_id, 100))
    assert await spent(pool, key_id) == (130, 130)
    assert (await holds.open(capped(seller, owner, 170, key_id))).is_open
    assert await ledger.is_sound()


async def test_the_sweeper_gives_back_what_a_dead_process_left(
    pool: Pool, seller: Seller, owner: UUID
) -> None:
    key_id = await key_of(pool, owner, Caps(per_day=100))
    dead = Holds(pool, timedelta(0))
    assert (await dead.open(capped(seller, owner, 100, key_id))).is_open
    assert not (await dead.open(capped(seller, owner, 1, key_id))).is_open
    assert await ledger_holds.void_expired(pool) == 1
    assert await spent(pool, key_id) == (0, 0)


async def test_a_day_ends_at_midnight_and_an_old_hold_gives_nothing_back_to_the_new_one(
    pool: Pool, seller: Seller, owner: UUID, holds: Holds
) -> None:
    key_id = await key_of(pool, owner, Caps(per_day=100, total=1000))
    yesterday = capped(seller, owner, 100, key_id)
    await holds.open(yesterday)
    await pool.execute("UPDATE key_caps SET day = day - 1")
    await pool.execute("UPDATE holds SET counted_on = counted_on - 1")
    assert (await holds.open(capped(seller, owner, 60, key_id))).is_open
    await holds.void(yesterday.call_id)
    assert await spent(pool, key_id) == (60, 60)


@pytest.mark.parametrize(
    ("decimals", "amount", "counted"),
    [(6, 7, 7), (2, 7, 70_000), (0, 1, 10**6), (18, 10**12, 1), (18, 10**12 + 1, 2), (18, 1, 1),
     (36, 10**77 + 1, 10**47 + 1), (0, 10**77, 10**83)],
)  # fmt: skip
async def test_every_asset_counts_at_its_face_value_rounded_up(
    pool: Pool, decimals: int, amount: int, counted: int
) -> None:
    assert await pool.fetchval("SELECT counted_millionths($1, $2)", amount, decimals) == counted


async def test_closing_many_capped_holds_at_once_never_deadlocks(
    crowd: Pool, ledger: Ledger, seller: Seller
) -> None:
    owners = [await ledger.organization() for _ in range(4)]
    for one in owners:
        await ledger.deposit(one, 100_000)
    key_ids = [await key_of(crowd, owners[n % 4], Caps(per_day=10_000)) for n in range(8)]
    processes = [Holds(crowd, HOUR) for _ in range(4)]

    async def call(n: int) -> None:
        process, which = processes[n % 4], n * 7 % 8
        name = f"call {n % 50}" if n % 3 else None
        opening = replace(capped(seller, owners[which % 4], 10, key_ids[which]), name=name, digest=bytes(32))
        if not (await process.open(opening)).is_open:
            return
        if n % 5:
            assert await process.post(replace(seller.posting(opening.call_id, 7, 1), is_partial=True))
        else:
            assert await process.void(opening.call_id)

    async with asyncio.TaskGroup() as group:
        for n in range(600):
            group.create_task(call(n))
        for _ in range(20):
            group.create_task(ledger_holds.void_expired(crowd))
    assert await ledger.is_sound()
    posted = await crowd.fetch(
        "SELECT key_id, sum(spent) AS spent FROM holds WHERE state = 'posted' GROUP BY 1"
    )
    assert {row["key_id"]: row["spent"] for row in posted} == {
        key_id: (await spent(crowd, key_id))[1] for key_id in key_ids
    }


async def test_coming_near_a_cap_is_told_once(pool: Pool, seller: Seller, owner: UUID, holds: Holds) -> None:
    key_id = await key_of(pool, owner, Caps(per_day=100, total=1000))
    for amount in (79, 1, 1, 19, 1, 1):
        await holds.open(capped(seller, owner, amount, key_id))
    payload = {"key_id": str(key_id), "cap": "per_day", "limit_millionths": "100"}
    assert await events(pool) == [
        ("key.cap_near", {**payload, "spent_millionths": "80"}),
        ("key.cap_reached", {**payload, "spent_millionths": "100"}),
    ]
    # A new cap can be met anew.
    await caps.put(pool, key_id, Caps(per_day=110, total=1000))
    await holds.open(capped(seller, owner, 11, key_id))
    assert len(await events(pool)) == 3


async def test_a_low_balance_is_told_when_it_is_crossed(
    pool: Pool, seller: Seller, ledger: Ledger, holds: Holds
) -> None:
    owner = await ledger.funded(100)

    async def charge(amount: int) -> None:
        opening = seller.opening(owner, amount)
        assert (await holds.open(opening)).is_open
        await holds.post(replace(seller.posting(opening.call_id, amount), alert_below=50))

    for amount in (50, 1, 1):
        await charge(amount)
    payload = {"asset_id": str(USDC.id), "threshold_atomic": "50", "balance_atomic": "49"}
    assert await events(pool) == [("wallet.balance_low", payload)]
    await ledger.deposit(owner, 10)
    await charge(10)
    assert len(await events(pool)) == 2


def named(opening: Opening, name: str = "order 1", digest: bytes = bytes(32)) -> Opening:
    return replace(opening, name=name, digest=digest)


# Whoever finds the money gone is told so; the rail then looks whether it was this very call that took it.
@pytest.mark.parametrize(("money", "others"), [(100, {"repeated", "short"}), (1000, {"repeated"})])
async def test_one_of_sixty_calls_with_one_key_is_opened(
    crowd: Pool, seller: Seller, ledger: Ledger, money: int, others: set[str]
) -> None:
    owner = await ledger.funded(money)
    processes = [Holds(crowd, HOUR) for _ in range(4)]
    verdicts = await asyncio.gather(
        *(processes[n % 4].open(named(seller.opening(owner, 100))) for n in range(60))
    )
    assert sum(one.is_open for one in verdicts) == 1
    assert {one.obstacle for one in verdicts if not one.is_open} <= others
    assert await ledger.balance(owner) == (money, 100)


async def test_a_key_is_free_again_once_its_call_cost_nothing(
    pool: Pool, seller: Seller, owner: UUID, holds: Holds
) -> None:
    first = named(seller.opening(owner, 100))
    assert (await holds.open(first)).is_open
    assert (await holds.open(named(seller.opening(owner, 100)))).obstacle == "repeated"
    await holds.void(first.call_id)
    second = named(seller.opening(owner, 100))
    assert (await holds.open(second)).is_open
    await holds.post(seller.posting(second.call_id, 100))
    assert (await holds.open(named(seller.opening(owner, 100)))).obstacle == "repeated"
    # Another organization's key of the same name is another key.
    other = await Ledger(pool).organization()
    await Ledger(pool).deposit(other, 100)
    assert (await holds.open(named(seller.opening(other, 100)))).is_open


async def test_asked_again_after_a_commit_that_nobody_heard_of_a_hold_is_open_once(
    pool: Pool, seller: Seller, owner: UUID, holds: Holds, ledger: Ledger
) -> None:
    """As the group does when the database's answer was lost."""
    key_id = await key_of(pool, owner, Caps(total=1000))
    batch = [
        named(seller.opening(owner, 100)),
        capped(seller, owner, 100, key_id),
        named(capped(seller, owner, 100, key_id), "order 2"),
    ]
    for _ in range(2):
        assert [one.is_open for one in await holds.open_batch(batch)] == [True] * 3
        assert [one.is_open for one in await holds.open_batch(batch[:1])] == [True]
    assert (await ledger.balance(owner))[1] == 300
    assert await spent(pool, key_id) == (200, 200)
    posting = replace(seller.posting(batch[2].call_id, 30), is_partial=True)
    for _ in range(2):
        assert await holds.post(posting)
    assert await spent(pool, key_id) == (130, 130)
    assert await ledger.is_sound()


async def test_keys_are_kept_as_long_as_asked_and_while_their_call_runs(
    pool: Pool, seller: Seller, owner: UUID, holds: Holds
) -> None:
    running, done = (named(seller.opening(owner, 1), name) for name in ("running", "done"))
    for one in (running, done):
        await holds.open(one)
    await holds.post(seller.posting(done.call_id, 1))
    await ledger_holds.prune_keys(pool, HOUR)
    assert await pool.fetchval("SELECT count(*) FROM idempotency_keys") == 2
    await ledger_holds.prune_keys(pool, timedelta(0))
    assert await pool.fetchval("SELECT name FROM idempotency_keys") == "running"


async def test_a_call_without_key_or_caps_asks_for_neither(seller: Seller, owner: UUID) -> None:
    assert not seller.opening(owner, 1).is_bound
    assert named(seller.opening(owner, 1)).is_bound
    assert replace(seller.opening(owner, 1), key_id=ids.new()).is_bound
