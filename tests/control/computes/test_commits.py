"""Times and LSNs of one history, asked of the log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control.computes import bases, commits, keeping, turns
from control.computes.commits import Commit
from control.computes.local import LocalProvider
from control.computes.programs import lsn_number
from control.computes.provider import At, ComputeUnavailable, OutsideWindow, Resolved, TimelineSpec
from gateway.kit.sql import Connection
from tests.control.computes.rows import lsn, numbers, session
from tests.waiting import until

PROJECT = TimelineSpec("shop")


async def commit(connection: Connection, number: int) -> tuple[datetime, datetime]:
    """Between these two moments."""
    before = datetime.now(UTC)
    await connection.execute("INSERT INTO kept VALUES ($1)", number)
    return before, datetime.now(UTC)


async def at_time(provider: LocalProvider, timeline: str, moment: datetime) -> Resolved:
    return await provider.resolve(timeline, At(timestamp=moment))


async def at_lsn(provider: LocalProvider, timeline: str, point: str) -> Resolved:
    return await provider.resolve(timeline, At(lsn=point))


async def test_a_time_is_the_commit_after_it_and_an_lsn_the_one_before(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept (n int)")
        moments, points = [], []
        for number in range(1, 6):
            moments.append(await commit(connection, number))
            points.append(await lsn(connection))
            if number == 3:
                # Segments in between, of which none is the last.
                await connection.execute(
                    "CREATE TABLE filler AS SELECT repeat('x', 900) FROM generate_series(1, 4000)"
                )
        for number, ((before, after), point) in enumerate(zip(moments, points, strict=True), 1):
            found = await at_time(provider, "main", after)
            if number < 5:
                assert found.kind == "present"
                assert found.lsn is not None
                assert lsn_number(found.lsn) >= lsn_number(point)
            else:
                assert found.kind == "future"
            back = await at_lsn(provider, "main", point)
            assert back.timestamp is not None
            assert before <= back.timestamp <= after
            # Exact to the commit: a microsecond earlier it had not happened.
            just_before = await at_time(provider, "main", back.timestamp - timedelta(microseconds=1))
            assert just_before.lsn is not None
            assert lsn_number(just_before.lsn) < lsn_number(point)
            name = f"at-{number}"
            await provider.create_timeline(name, PROJECT, ("main", At(timestamp=back.timestamp)))
            assert await numbers(provider, name) == list(range(1, number + 1))
            await provider.stop(f"on-{name}")
            await provider.create_timeline(f"to-{number}", PROJECT, ("main", At(lsn=just_before.lsn)))
            assert await numbers(provider, f"to-{number}") == list(range(1, number))
            await provider.stop(f"on-to-{number}")


async def test_what_is_outside_a_history_is_told_so_and_nothing_is_woken(provider: LocalProvider) -> None:
    early = datetime.now(UTC)
    made = await provider.create_timeline("main", PROJECT)
    past = await at_time(provider, "main", early)
    assert (past.kind, past.lsn, past.timestamp) == ("past", made.horizon_lsn, made.horizon_at)
    assert (await at_lsn(provider, "main", "0/1")).kind == "past"
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    # Nobody is woken for the answer.
    await provider.stop("on-main")
    head = (await provider.stat("main")).head_lsn
    assert await at_lsn(provider, "main", "F/0") == Resolved(
        "future", head, (await at_lsn(provider, "main", head)).timestamp
    )
    future = await at_time(provider, "main", datetime.now(UTC))
    assert (future.kind, future.lsn) == ("future", head)
    await provider.archive("main")
    assert (await at_lsn(provider, "main", head)).kind == "present"
    assert (await at_time(provider, "main", datetime.now(UTC))).kind == "future"
    # Nothing of it is left.
    assert not list(provider.store.place("main").root.glob("scan-*"))


async def test_before_its_beginning_a_branch_has_its_parents_times(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept (n int)")
        await commit(connection, 1)
        _, middle = await commit(connection, 2)
        point = await lsn(connection)
        await commit(connection, 3)
    # Of an LSN: when that was is in the log.
    await provider.create_timeline("child", PROJECT, ("main", At(lsn=point)))
    async with session(provider, "child") as connection:
        await commit(connection, 10)
        _, late = await commit(connection, 11)
        await commit(connection, 12)
    for name, moment, expected in (
        ("a", middle, [1, 2]),
        # The parent's third commit was before this moment, and is none of the child's.
        ("b", datetime.now(UTC), [1, 2, 10, 11, 12]),
        ("c", late, [1, 2, 10, 11]),
    ):
        await provider.create_timeline(name, PROJECT, ("child", At(timestamp=moment)))
        assert await numbers(provider, name) == expected, name
        await provider.stop(f"on-{name}")
    earlier = await at_lsn(provider, "child", point)
    assert earlier.timestamp is not None
    assert earlier.timestamp <= middle


async def test_what_a_branch_has_forgotten_is_not_looked_for_in_its_parent(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful = TimelineSpec("shop", retention_seconds=0)
    await provider.create_timeline("main", forgetful)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    await provider.create_timeline("child", forgetful, ("main", At()))
    async with session(provider, "child") as connection:
        _, moment = await commit(connection, 2)
        point = await lsn(connection)
        await connection.execute(
            "CREATE TABLE filler AS SELECT repeat('x', 900) FROM generate_series(1, 2000)"
        )
    monkeypatch.setattr(bases, "WAL_BYTES_MAX", 1)
    monkeypatch.setattr(bases, "WAL_SHARE_MAX", 1 << 30)
    # The server archives its log in its own time.
    await until(lambda: bases.is_due(provider.store.place("child")))
    await keeping.upkeep(provider)
    assert (await at_time(provider, "child", moment)).kind == "past"
    assert (await at_lsn(provider, "child", point)).kind == "past"
    for at in (At(lsn=point), At(timestamp=moment)):
        with pytest.raises(OutsideWindow):
            await provider.create_timeline("old", forgetful, ("child", at))


async def test_many_questions_about_a_log_are_answered_one_after_the_other(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes a process that reads the whole of it, and anybody who may look at a project may ask."""
    await provider.create_timeline("main", PROJECT)
    scan, running, at_once = commits.scan, 0, []

    async def counted(*given: Any) -> Commit | None:
        nonlocal running
        running += 1
        at_once.append(running)
        try:
            return await scan(*given)
        finally:
            running -= 1

    monkeypatch.setattr(commits, "scan", counted)
    point = (await provider.stat("main")).head_lsn
    asked = [at_lsn(provider, "main", point) for _ in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, ComputeUnavailable)]
    assert (len(refused), max(at_once)) == (20 - turns.WAITING_MAX, 1)
    assert isinstance(await at_lsn(provider, "main", point), Resolved)
