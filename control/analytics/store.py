from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

from asyncpg import Record

from control.analytics.rules import Period
from gateway.kit.money import millionths
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Sales:
    """Of one publisher, in one kind of money."""

    publisher_id: UUID
    mode: Literal["live", "test"]


@dataclass(frozen=True, slots=True)
class Totals:
    """``cost`` is in millionths of a dollar."""

    cost: int = 0
    calls: int = 0
    charged: int = 0
    paid_on_chain: int = 0
    failed: int = 0
    agents: int = 0


@dataclass(frozen=True, slots=True)
class DayTotals:
    cost: int = 0
    calls: int = 0
    agents: int = 0


async def is_seller(db: Db, organization_id: UUID, publisher_id: UUID) -> bool:
    """One that was deleted was still earning, and its numbers stay."""
    return bool(await db.fetchval(SQL.is_seller, organization_id, publisher_id))


async def totals(db: Db, sales: Sales, period: Period) -> Totals:
    scope = (sales.publisher_id, period.start, period.end, sales.mode)
    rows = await db.fetch(SQL.totals, *scope)
    return Totals(
        cost=sum(millionths(row["cost"], row["decimals"]) for row in rows),
        calls=sum(row["calls"] for row in rows),
        charged=sum(row["charged"] for row in rows),
        paid_on_chain=sum(row["paid_on_chain"] for row in rows),
        failed=sum(row["failed"] for row in rows),
        agents=await db.fetchval(SQL.agents, *scope),
    )


async def refunded(db: Db, sales: Sales, period: Period) -> int:
    """In millionths of a dollar."""
    rows = await db.fetch(SQL.refunded, sales.publisher_id, period.start, period.end, sales.mode)
    return sum(millionths(row["amount"], row["decimals"]) for row in rows)


async def direct_charges(db: Db, sales: Sales, period: Period) -> tuple[int, int]:
    """How many without a call, and what they came to in millionths of a dollar."""
    rows = await db.fetch(SQL.direct_charges, sales.publisher_id, period.start, period.end, sales.mode)
    return sum(row["charges"] for row in rows), sum(millionths(row["cost"], row["decimals"]) for row in rows)


async def offers(db: Db, sales: Sales, period: Period) -> int:
    return int(await db.fetchval(SQL.offers, sales.publisher_id, period.start, period.end))


async def by_day(db: Db, sales: Sales, period: Period) -> dict[date, DayTotals]:
    """Days on which somebody called."""
    scope = (sales.publisher_id, period.start, period.end, sales.mode)
    agents = {row["day"]: row["agents"] for row in await db.fetch(SQL.agents_by_day, *scope)}
    found: dict[date, DayTotals] = {}
    for row in await db.fetch(SQL.by_day, *scope):
        so_far = found.get(row["day"], DayTotals())
        cost = so_far.cost + millionths(row["cost"], row["decimals"])
        found[row["day"]] = DayTotals(cost, so_far.calls + row["calls"], agents.get(row["day"], 0))
    return found


async def top_agents(db: Db, sales: Sales, limit: int) -> list[Record]:
    return await db.fetch(SQL.top_agents, sales.publisher_id, sales.mode, limit)


async def routes(db: Db, sales: Sales, period: Period, limit: int) -> list[Record]:
    return await db.fetch(SQL.routes, sales.publisher_id, period.start, period.end, sales.mode, limit)
