"""Usage by the hour and by the day: each row of ``usage_events`` is counted once, in the order of commits.

What a row counts and the mark up to which rows are counted are one transaction, so a process that dies
between any two steps leaves nothing behind, and the next one counts the same rows. A row that commits late,
or whose call began in another hour, is counted when it is there, in the hour that it belongs to.
"""

from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import usage

SQL = Statements(__file__)

# The first time there may be years of calls.
PATIENCE_SECONDS = 3600
# A publisher has a score of routes; callers may ask for any path.
ROUTES_A_DAY_MAX = 500


async def roll_up(pool: Pool, *, is_waiting: bool = False) -> int | None:
    """Count what is new and return how many calls that were; None while somebody else is at it.

    With ``is_waiting`` everything that was committed before is counted afterwards, unless something older is
    still under way.
    """
    async with pool.acquire() as db, db.transaction():
        await db.execute(SQL.patience, f"{PATIENCE_SECONDS}s")
        taken = await db.fetchrow(SQL.wait if is_waiting else SQL.take, timeout=PATIENCE_SECONDS)
        if taken is None:
            return None
        bounds = await db.fetchrow(SQL.bounds)
        assert bounds is not None, "it is a row of functions"
        start = taken["next_in"]
        if taken["cluster"] != bounds["cluster"]:
            # The first time, or in another cluster: those numbers say nothing about these transactions.
            await usage.disown(db, bounds["unborn"], PATIENCE_SECONDS)
            for forget in (SQL.forget_hours, SQL.forget_days, SQL.forget_agents, SQL.forget_routes):
                await db.execute(forget, timeout=PATIENCE_SECONDS)
            start = 0
        ended = max(start, bounds["ended"])
        counted = await db.fetchval(SQL.add, start, ended, ROUTES_A_DAY_MAX, timeout=PATIENCE_SECONDS)
        await add_earnings(db, ended, bounds["cluster"])
        await db.execute(SQL.mark, ended, bounds["cluster"])
        return int(counted)


async def add_earnings(db: Db, ended: int, cluster: int) -> None:
    """Under the same lock, up to the same row, by a mark that was made later than the other."""
    mark = await db.fetchrow(SQL.earnings_mark)
    assert mark is not None, "it came with its table"
    start = mark["next_in"]
    if mark["cluster"] != cluster:
        await db.execute(SQL.forget_earnings, timeout=PATIENCE_SECONDS)
        start = 0
    await db.execute(SQL.add_earnings, start, ended, timeout=PATIENCE_SECONDS)
    await db.execute(SQL.move_earnings_mark, ended, cluster)


async def age_seconds(pool: Pool) -> int | None:
    """Since it last ran; None before the first time."""
    row = await pool.fetchrow(SQL.state)
    return None if row is None else row["age_seconds"]
