"""Calls that are counted ahead: never more of them than the shared bucket has, and nothing lost."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from gateway.advances import KEPT_SECONDS, SHARE
from gateway.buckets import Bucket, Buckets

BURST = 4000


def bucket(burst: int = BURST) -> Bucket:
    return Bucket("key", uuid4().hex, 0.001, burst)


@pytest.fixture
async def processes(valkey: str) -> AsyncIterator[list[Buckets]]:
    made = [Buckets(Redis.from_url(valkey)) for _ in range(3)]
    yield made
    for one in made:
        await one.close()


async def granted(buckets: Buckets, one: Bucket, count: int) -> int:
    """In turns, as a busy caller's calls come."""
    found = 0
    for _ in range(count // 20):
        taken = await asyncio.gather(*(buckets.take(one) for _ in range(20)))
        found += sum(not each.wait_seconds for each in taken)
    return found


async def test_processes_that_count_ahead_grant_no_more_than_there_is(processes: list[Buckets]) -> None:
    one = bucket()
    first = sum(await asyncio.gather(*(granted(each, one, 2000) for each in processes)))
    assert BURST - len(processes) * BURST // SHARE <= first <= BURST
    # What the others had taken ahead is given back, and then it is anybody's.
    await asyncio.sleep(3 * KEPT_SECONDS)
    assert first + await granted(processes[0], one, 1000) == BURST


async def test_a_busy_caller_seldom_waits_for_the_shared_buckets(
    processes: list[Buckets], monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets, one, trips = processes[0], bucket(), 0
    script = buckets.script
    assert script is not None

    async def counted(**arguments: object) -> object:
        nonlocal trips
        trips += 1
        return await script(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(buckets, "script", counted)
    assert await granted(buckets, one, 1000) == 1000
    assert trips < 50
    # It is told as if each had been asked.
    assert (await buckets.take(one)).remaining == BURST - 1001


async def test_what_nobody_used_is_given_back(processes: list[Buckets]) -> None:
    one = bucket()
    assert await granted(processes[0], one, 200) == 200
    await asyncio.sleep(3 * KEPT_SECONDS)
    assert not processes[0].advances.by_buckets
    assert (await processes[1].take(one)).remaining == BURST - 201


async def test_a_caller_with_little_left_is_asked_about_each_time(processes: list[Buckets]) -> None:
    one = bucket(100)
    found = await asyncio.gather(*(granted(each, one, 60) for each in processes))
    assert sum(found) == 100


async def test_a_crowd_finds_enough_ahead(processes: list[Buckets], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for what was counted ahead is a reason to count more: else half of them wait, for ever."""
    buckets, asked, late = processes[0], (bucket(1_000_000),), []
    script = buckets.script
    assert script is not None

    async def slow(**arguments: object) -> object:
        await asyncio.sleep(0.005)
        return await script(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(buckets, "script", slow)
    # One after the other at first.
    for _ in range(40):
        if buckets.ahead(asked) is None:
            await buckets.take(*asked)
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            late.append([buckets.ahead(asked) for _ in range(16)].count(None))
            for _ in range(late[-1]):
                group.create_task(buckets.take(*asked))
            await asyncio.sleep(0.001)
    assert sum(late[50:]) < 80


async def test_a_caller_that_slows_down_is_still_counted_ahead(processes: list[Buckets]) -> None:
    """What was taken for a crowd is over before few calls use it up: it is asked for again before that."""
    buckets, asked, late = processes[0], (bucket(1_000_000),), 0
    await asyncio.gather(*(buckets.take(*asked) for _ in range(64)))
    for at in range(400):
        if buckets.ahead(asked) is None:
            late += at > 64
            await buckets.take(*asked)
        await asyncio.sleep(0.002 if at > 64 else 0)
    assert late < 8
    advance = buckets.advances.by_buckets[asked]
    # And no more is kept than its calls of a moment.
    assert advance.left < 500


async def test_who_becomes_slow_does_not_keep_what_it_was_granted_when_it_was_fast(
    processes: list[Buckets],
) -> None:
    """Or it would have that besides a bucket that is full again."""
    one, buckets = bucket(), processes[0]
    assert await granted(buckets, one, 800) == 800
    (advance,) = buckets.advances.by_buckets.values()
    assert advance.left > 100
    for _ in range(14):
        for _ in range(3):
            assert not (buckets.ahead((one,)) or await buckets.take(one)).wait_seconds
        await asyncio.sleep(KEPT_SECONDS / 5)
    assert 0 < advance.left < 50
    # And nothing is lost by that.
    await asyncio.sleep(3 * KEPT_SECONDS)
    assert (await processes[1].take(one)).remaining == BURST - 800 - 14 * 3 - 1
