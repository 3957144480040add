"""Points of a branch that is being written to, told to the commit."""

import asyncio
from datetime import datetime, timedelta

from control.computes.provider import At, TimelineSpec
from control.postgres import connecting
from tests.control.branched import Branch
from tests.control.branched import branch as branch

WRITERS = 4
COMMITS = 150


async def test_a_time_and_an_lsn_are_exact_to_the_commit_while_many_write(branch: Branch) -> None:
    timeline = str(await branch.pool.fetchval("SELECT timeline_id FROM branches"))
    moments: dict[int, tuple[datetime, datetime]] = {}
    points: list[str] = []
    enough = asyncio.Event()

    async def write(writer: int) -> None:
        async with branch.owner() as connection:
            for count in range(COMMITS):
                number = writer * COMMITS + count
                before = await connection.fetchval("SELECT clock_timestamp()")
                await connection.execute("INSERT INTO kept VALUES ($1)", number)
                after = await connection.fetchval("SELECT clock_timestamp()")
                moments[number] = before, after
                if count % 20 == 7:
                    points.append(await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text"))
                if len(points) > 8:
                    enough.set()

    async with branch.owner() as connection:
        await connection.execute("CREATE TABLE kept (n int PRIMARY KEY)")
    writing = asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    await enough.wait()
    # Asked while it goes on.
    found = [await branch.computes.resolve(timeline, At(lsn=points[at])) for at in (2, 8)]
    await writing
    for at, back in zip((2, 8), found, strict=True):
        assert back.timestamp is not None
        then, just_before = back.timestamp, back.timestamp - timedelta(microseconds=1)
        known = [
            await rows_at(branch, timeline, f"{at}-{n}", one) for n, one in enumerate((then, just_before))
        ]
        # The commit of that moment is in the one, and not in the other, which has all else.
        assert len(known[0] - known[1]) == 1
        assert known[1] < known[0]
        for number, (before, after) in moments.items():
            assert number in known[0] or after > then
            assert number not in known[0] or before < then


async def rows_at(branch: Branch, timeline: str, name: str, moment: datetime) -> set[int]:
    point = await branch.computes.resolve(timeline, At(timestamp=moment))
    assert point.kind == "present"
    assert point.lsn is not None
    made = f"{timeline}-{name}"
    await branch.computes.create_timeline(
        made, TimelineSpec(str(branch.project_id)), (timeline, At(lsn=point.lsn))
    )
    await branch.computes.start(made, made, connecting.VISIT)
    connection = await branch.computes.admin(made, "app")
    try:
        return {row["n"] for row in await connection.fetch("SELECT n FROM public.kept")}
    finally:
        await connection.close()
        await branch.computes.stop(made)

        await branch.computes.delete_timeline(made)
