"""Events that calls cause in passing. What they tell of is committed, and stays so if one is lost."""

from collections.abc import Iterable, Mapping
from uuid import UUID

import asyncpg
import structlog
from asyncpg import Record

from gateway.kit.sql import OUTAGES, Pool, Statements

SQL = Statements(__file__)

log = structlog.get_logger(__name__)


async def cap_reached(pool: Pool, key_id: UUID | None, cap: str) -> None:
    """Of one refused call; told once a day, or once until the cap is changed."""
    await tell(pool, SQL.reached, key_id, cap)


async def low_balances(
    pool: Pool, thresholds: Iterable[tuple[UUID, int]], closed: Mapping[UUID, Record]
) -> None:
    """``thresholds`` are calls and below which balance their owner is told; ``closed`` are those charged now.

    Each commit has its own balance before and after, so one of them alone crosses a threshold.
    """
    crossed = {
        (row["payer_id"], threshold): row["balance"]
        for call_id, threshold in thresholds
        if (row := closed.get(call_id)) is not None
        and row["balance"] is not None
        and row["balance"] < threshold <= row["balance_before"]
    }
    for (payer_id, threshold), balance in crossed.items():
        await tell(pool, SQL.low, payer_id, str(threshold), str(balance))


async def tell(pool: Pool, statement: str, *values: object) -> None:
    try:
        await pool.execute(statement, *values)
    except (*OUTAGES, asyncpg.PostgresError):
        log.exception("event.lost")
