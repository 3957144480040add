"""Work that is finished whoever waits for it."""

import asyncio

import pytest

from gateway.kit.tasks import finish

TIMES = 3


async def test_whoever_is_cancelled_meanwhile_learns_of_it_when_the_work_is_done() -> None:
    may_end, undone = asyncio.Event(), []

    async def work() -> str:
        await may_end.wait()
        return "done"

    async def undo(result: str) -> None:
        await asyncio.sleep(0)
        undone.append(result)

    waiting = asyncio.create_task(finish(work(), undo))  # noqa: TID251
    for _ in range(TIMES):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert undone == ["done"]


async def test_what_nobody_cancels_has_its_result_or_its_failure() -> None:
    async def work(failure: Exception | None) -> str:
        await asyncio.sleep(0)
        if failure is not None:
            raise failure
        return "done"

    assert await finish(work(None)) == "done"
    with pytest.raises(ValueError, match="bad"):
        await finish(work(ValueError("bad")))


async def test_work_that_fails_after_its_caller_was_cancelled_tells_of_the_failure() -> None:
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        raise ValueError("bad")

    waiting = asyncio.create_task(finish(work()))  # noqa: TID251
    await asyncio.sleep(0)
    waiting.cancel()
    may_end.set()
    with pytest.raises(ValueError, match="bad"):
        await waiting


async def test_a_deadline_around_it_passes_when_the_work_is_done() -> None:
    ended = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        ended.append(True)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await finish(work())
    assert ended == [True]
