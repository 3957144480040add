import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.computes.provider import At, BeyondHistory, TimelineBusy, TimelineSpec, TimelineUnknown
from tests.control.computes.rows import lsn, numbers, session

PROJECT = TimelineSpec("shop")


async def test_a_branch_has_exactly_the_rows_of_its_point(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        first = await lsn(connection)
        await connection.execute("INSERT INTO kept VALUES (2)")
        moment: datetime = await connection.fetchval("SELECT clock_timestamp()")
        await connection.execute("INSERT INTO kept VALUES (3)")
        head = await lsn(connection)
        for name, at, expected in (
            ("at-lsn", At(lsn=first), [1]),
            ("at-time", At(timestamp=moment), [1, 2]),
            ("at-head", At(), [1, 2, 3]),
            ("at-end", At(lsn=head), [1, 2, 3]),
        ):
            made = await provider.create_timeline(name, PROJECT, ("main", at))
            assert (made.parent, await numbers(provider, name)) == ("main", expected), name
        await connection.execute("INSERT INTO kept VALUES (4)")
    assert await numbers(provider, "main") == [1, 2, 3, 4]


async def test_nothing_is_made_of_what_is_beyond_the_end(provider: LocalProvider) -> None:
    async def kinds(timeline: str) -> list[str]:
        points = (At(lsn="0/1"), At(lsn=first), At(lsn="F/0"), At(timestamp=datetime(2020, 1, 1, tzinfo=UTC)))
        return [(await provider.reach(timeline, at)).kind for at in points]

    made = await provider.create_timeline("main", PROJECT)
    expected = ["past", "present", "future", "past"]
    async with session(provider, "main") as connection:
        first = await lsn(connection)
        # What is written and not flushed is there as well.
        await connection.execute("SET synchronous_commit = off; CREATE TABLE kept AS SELECT 1 AS n")
        written = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        assert (await provider.reach("main", At(lsn=written))).kind == "present"
        assert await kinds("main") == expected
    await provider.stop("on-main")
    assert (await provider.reach("main", At(lsn=written))).kind == "present"
    assert await kinds("main") == expected
    told = await provider.reach("main", At(lsn="0/1"))
    assert (told.lsn, told.timestamp) == (made.horizon_lsn, made.horizon_at)
    # A child has its parent's past.
    await provider.create_timeline("child", PROJECT, ("main", At()))
    assert await kinds("child") == expected
    with pytest.raises(BeyondHistory, match="ends at"):
        await provider.create_timeline("never", PROJECT, ("main", At(lsn="F/0")))
    with pytest.raises(TimelineUnknown):
        await provider.reach("never", At(lsn=first))
    await provider.archive("main")
    assert await kinds("main") == expected


async def test_a_branch_of_a_branch_reaches_into_both_histories(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        first = await lsn(connection)
        await connection.execute("INSERT INTO kept VALUES (2)")
    await provider.create_timeline("child", PROJECT, ("main", At()))
    async with session(provider, "child") as connection:
        await connection.execute("INSERT INTO kept VALUES (10)")
        second = await lsn(connection)
        await connection.execute("INSERT INTO kept VALUES (11)")
    async with session(provider, "main") as connection:
        await connection.execute("INSERT INTO kept VALUES (3)")
    # The child sleeps: its history is read without waking it.
    await provider.stop("on-child")
    await provider.create_timeline("late", PROJECT, ("child", At(lsn=second)))
    await provider.create_timeline("early", PROJECT, ("child", At(lsn=first)))
    assert await numbers(provider, "late") == [1, 2, 10]
    assert await numbers(provider, "early") == [1]


async def test_creating_again_changes_nothing(provider: LocalProvider) -> None:
    made = await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    again = await provider.create_timeline("main", PROJECT)
    assert again.created_at == made.created_at
    assert await numbers(provider, "main") == [1]


async def test_a_timeline_in_use_is_not_deleted_and_one_that_is_not_is_gone(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main"):
        pass
    with pytest.raises(TimelineBusy):
        await provider.delete_timeline("main")
    await provider.stop("on-main")
    await provider.delete_timeline("main")
    await provider.delete_timeline("main")
    with pytest.raises(TimelineUnknown):
        await provider.stat("main")


async def test_an_archived_timeline_comes_back_whole(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        first = await lsn(connection)
        await connection.execute("INSERT INTO kept VALUES (2)")
    await provider.stop("on-main")
    awake = await provider.stat("main")
    await provider.archive("main")
    asleep = await provider.stat("main")
    assert asleep.is_archived
    assert asleep.bytes < awake.bytes / 3
    # Its history is there while it is archived, and goes on afterwards.
    await provider.create_timeline("old", PROJECT, ("main", At(lsn=first)))
    await provider.create_timeline("head", PROJECT, ("main", At()))
    assert await numbers(provider, "old") == [1]
    assert await numbers(provider, "head") == [1, 2]
    async with session(provider, "main") as connection:
        await connection.execute("INSERT INTO kept VALUES (3)")
    await provider.create_timeline("after", PROJECT, ("main", At()))
    assert await numbers(provider, "after") == [1, 2, 3]


@pytest.fixture
def closed(root: Path) -> Path:
    root.chmod(0o700)
    return root


@pytest.mark.skipif(os.getuid() != 0, reason="only root's servers are other users'")
async def test_servers_run_below_a_directory_that_is_closed_to_them(closed: Path) -> None:
    """As in root's home. Their rules, settings and extensions are found, when history is replayed as well."""
    async with opened(closed, look_seconds=3600) as provider:
        await provider.create_timeline("main", PROJECT)
        async with session(provider, "main") as connection:
            await connection.execute("CREATE EXTENSION pg_trgm; CREATE TABLE kept AS SELECT 1 AS n")
            first = await lsn(connection)
            await connection.execute("INSERT INTO kept VALUES (2)")
        await provider.create_timeline("child", PROJECT, ("main", At(lsn=first)))
        assert await numbers(provider, "child") == [1]
        sockets = provider.store.sockets
        assert sockets.is_dir()
        await provider.stop_all()
    # The short name in /tmp is gone with the last of them.
    assert not sockets.exists()
