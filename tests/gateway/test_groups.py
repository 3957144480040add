import asyncio
from collections.abc import Sequence

import pytest

from gateway.kit import groups
from gateway.kit.groups import Crowd, Group
from gateway.kit.later import Later


class Slow:
    """Runs batches when it is let, and remembers them."""

    def __init__(self) -> None:
        self.may_run = asyncio.Event()
        self.batches: list[list[int]] = []
        self.group: Group[int, int] = Group(self.run)

    async def run(self, batch: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(batch))
        await self.may_run.wait()
        if 13 in batch:
            raise ValueError("13")
        return [item * 2 for item in batch]

    async def ask(self, item: int) -> int:
        return await self.group.add(item)


async def test_whoever_is_cancelled_hears_of_it_once_the_item_is_decided() -> None:
    slow = Slow()
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(slow.ask(item)) for item in (1, 2))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        assert not first.done()
        slow.may_run.set()
    assert (first.cancelled(), second.result()) == (True, 4)


async def test_a_deadline_holds_once_the_item_is_decided() -> None:
    slow = Slow()
    asyncio.get_running_loop().call_later(0.05, slow.may_run.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await slow.ask(1)


async def test_what_comes_while_a_batch_runs_shares_the_next_one() -> None:
    slow = Slow()
    async with asyncio.TaskGroup() as group:
        group.create_task(slow.ask(0))
        await asyncio.sleep(0.01)
        crowd = [group.create_task(slow.ask(item)) for item in range(1, 9)]
        await asyncio.sleep(0.01)
        assert slow.batches == [[0]]
        slow.may_run.set()
    assert [one.result() for one in crowd] == [item * 2 for item in range(1, 9)]
    assert slow.batches == [[0], [1, 2, 3, 4, 5, 6, 7, 8]]


async def test_a_failed_batch_fails_only_the_item_that_failed_it() -> None:
    slow = Slow()
    slow.may_run.set()
    outcomes = await asyncio.gather(*(slow.ask(item) for item in (12, 13, 14)), return_exceptions=True)
    assert [one if isinstance(one, int) else type(one) for one in outcomes] == [24, ValueError, 28]


async def test_the_neighbours_of_a_bad_item_are_found_by_halves() -> None:
    """One by one, one bad item would keep a full batch waiting for as many statements."""
    sizes: list[int] = []

    async def run(batch: Sequence[int]) -> Sequence[int]:
        sizes.append(len(batch))
        if 13 in batch:
            raise ValueError("13")
        return batch

    group = Group(run)
    outcomes = await asyncio.gather(*(group.add(item) for item in range(64)), return_exceptions=True)
    assert [one for one in outcomes if not isinstance(one, int)] == [outcomes[13]]
    assert isinstance(outcomes[13], ValueError)
    assert len(sizes) == 1 + 2 * 6
    group = Group(run)
    [alone] = await asyncio.gather(group.add(13), return_exceptions=True)
    assert isinstance(alone, ValueError)


async def test_who_has_many_waiting_is_not_in_the_way_of_who_has_one() -> None:
    batches: list[list[str]] = []

    async def run(batch: Sequence[str]) -> Sequence[str]:
        batches.append(list(batch))
        await asyncio.sleep(0)
        return batch

    group = Group(run, size_max=4, whose=lambda item: item[0])
    items = ["a1", "a2", "a3", "a4", "a5", "a6", "b1", "c1", "b2"]
    assert await asyncio.gather(*(group.add(item) for item in items)) == items
    assert batches == [["a1", "b1", "c1", "a2"], ["b2", "a3", "a4", "a5"], ["a6"]]


class Calls:
    """They come and go, and are known to the group before they come to it."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.crowd = Crowd()
        self.group: Group[int, int] = Group(self.run, crowd=self.crowd)

    async def run(self, batch: Sequence[int]) -> Sequence[int]:
        self.sizes.append(len(batch))
        await asyncio.sleep(0.004)
        return batch

    async def call(self, item: int, seconds: float) -> None:
        self.crowd.count += 1
        await asyncio.sleep(seconds)
        self.crowd.count -= 1
        await self.group.add(item)


async def test_a_crowd_waits_for_half_of_it_and_shares_a_commit() -> None:
    """They come one after the other, and each of them would be a batch of its own."""
    calls = Calls()
    await asyncio.gather(*(calls.call(item, 0.0) for item in range(8)))
    calls.sizes.clear()
    for _ in range(3):
        await asyncio.gather(*(calls.call(item, item / 4000) for item in range(8)))
    assert len(calls.sizes) <= 9
    assert sum(calls.sizes) == 24
    assert calls.crowd.count == 0


async def test_nobody_waits_long_for_company_that_does_not_come() -> None:
    calls = Calls()
    await asyncio.gather(calls.call(1, 0), calls.call(2, 0))
    calls.crowd.count = 50
    loop = asyncio.get_running_loop()
    began = loop.time()
    await calls.group.add(3)
    assert loop.time() - began < 2
    # The one before was alone, so this one does not wait at all.
    calls.group.commit_seconds = 60
    done = calls.group.add(4)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert calls.sizes[-2:] == [1, 1]
    assert not calls.group.alarm.is_set
    await done


async def test_what_waits_for_company_is_finished_when_its_group_is_closed() -> None:
    calls = Calls()
    await asyncio.gather(calls.call(1, 0), calls.call(2, 0))
    calls.crowd.count = 50
    done = calls.group.add(3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(calls.sizes) == 2
    await calls.group.close()
    assert await done == 3


async def test_a_bad_item_fails_its_neighbours_not_even_after_an_outage() -> None:
    outages = [ConnectionError("away"), ConnectionError("away")]

    async def run(batch: Sequence[int]) -> Sequence[int]:
        if outages:
            raise outages.pop()
        if 13 in batch:
            raise ValueError("13")
        return batch

    group = Group(run, patience_seconds=1)
    outcomes = await asyncio.gather(*(group.add(item) for item in (12, 13, 14)), return_exceptions=True)
    assert [one if isinstance(one, int) else type(one) for one in outcomes] == [12, ValueError, 14]


async def test_a_group_that_is_cut_off_leaves_nobody_waiting() -> None:
    slow = Slow()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(slow.ask(item)) for item in range(2)]
        await asyncio.sleep(0.01)
        await slow.group.crew.close()
    assert all(one.cancelled() for one in calls)


class Waves:
    """Two groups that the same callers pass through, and the batches that each of them ran."""

    def __init__(self) -> None:
        self.first_batches: list[int] = []
        self.second_batches: list[int] = []
        crowd = Crowd()
        self.first: Group[int, int] = Group(self.run_first, crowd=crowd)
        self.second: Group[int, int] = Group(self.run_second, crowd=crowd)

    async def run_first(self, batch: Sequence[int]) -> Sequence[int]:
        self.first_batches.append(len(batch))
        return batch

    async def run_second(self, batch: Sequence[int]) -> Sequence[int]:
        self.second_batches.append(len(batch))
        return batch

    async def pass_through(self, item: int) -> None:
        await self.first.add(item)
        # Others are sooner back from what is between the two.
        for _ in range(item):
            await asyncio.sleep(0)
        await self.second.add(item)


async def test_one_who_is_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Later, "within", lambda alarm, seconds: waits.append(seconds))
    waves = Waves()
    for _ in range(20):
        await waves.pass_through(0)
    assert waits == []
    assert waves.second_batches == [1] * 20


async def test_a_few_of_a_crowd_wait_for_half_of_it_and_not_for_long() -> None:
    waves = Waves()
    await asyncio.gather(*(waves.second.add(item) for item in range(4)))
    waves.second.crowd.count += 10
    waves.second.commit_seconds = 60
    asked = []
    for item in range(10):
        assert waves.second_batches == [4]
        asked.append(waves.second.add(item))
        await asyncio.sleep(0)
    assert await asyncio.gather(*asked) == list(range(10))
    assert waves.second_batches == [4, 10]
    # Its patience has an end, whatever the others do.
    assert await asyncio.wait_for(waves.second.add(7), 10) == 7
    assert waves.second.crowd.count == 10


@pytest.mark.parametrize(
    ("parts", "count", "share"),
    [(2, 1, 1), (2, 3, 2), (2, 4, 2), (3, 1, 1), (3, 2, 1), (3, 3, 1), (3, 4, 2), (3, 16, 6), (3, 18, 6)],
)
def test_a_crowd_is_shared_out_to_the_groups_that_it_passes(parts: int, count: int, share: int) -> None:
    crowd = Crowd(parts)
    crowd.count = count
    assert crowd.share() == share


async def test_who_still_waits_for_company_is_carried_before_the_end() -> None:
    waves = Waves()
    await asyncio.gather(*(waves.second.add(item) for item in range(4)))
    waves.second.crowd.count += 100
    waves.second.commit_seconds = 60
    asked = waves.second.add(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waves.second_batches == [4]
    await waves.second.close()
    assert (await asked, waves.second_batches) == (1, [4, 1])


async def test_a_crowd_that_was_given_up_is_no_crowd_any_more() -> None:
    async def silence(batch: Sequence[int]) -> Sequence[int]:
        raise TimeoutError

    crowd = Crowd()
    group: Group[int, int] = Group(silence, crowd=crowd, size_max=2)
    outcomes = await asyncio.gather(*(group.add(item) for item in range(5)), return_exceptions=True)
    assert [type(one) for one in outcomes] == [TimeoutError] * 5
    assert crowd.count == 0


@pytest.mark.parametrize(("idle_seconds", "size"), [(60, 3), (0, 10)])
async def test_a_light_batch_waits_for_company_while_there_is_something_else_to_do(
    monkeypatch: pytest.MonkeyPatch, idle_seconds: float, size: int
) -> None:
    """Where every turn of the loop counts as idle, and where none does."""
    monkeypatch.setattr(groups, "IDLE_SECONDS", idle_seconds)
    monkeypatch.setattr(groups, "COMPANY_SECONDS_MAX", 60)
    calls = Calls()
    group = Group(calls.run, crowd=calls.crowd, is_light=True)
    group.size_before, calls.crowd.count = 2, 10
    done = [group.add(1), group.add(2)]
    for _ in range(8):
        await asyncio.sleep(0)
        done.append(group.add(3))
    await asyncio.gather(*done)
    assert calls.sizes[0] == size
    assert sum(calls.sizes) == 10
