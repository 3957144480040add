"""Numbers that are looked at every few seconds, and never by a call."""

import asyncio
from collections.abc import Iterable, Sequence

from config.settings import Settings
from gateway.kit.money import to_atomic_down
from gateway.kit.sql import Pool, Statements
from gateway.ledger import accounts, grants
from gateway.metering import metrics
from gateway.metering.usage import Recorder
from gateway.types import Asset
from gateway.upstreams.http import HttpUpstreams
from gateway.upstreams.load import Loads

SQL = Statements(__file__)

LOOK_SECONDS = 2


async def look_forever(pools: Sequence[Pool], http: HttpUpstreams, recorder: Recorder, loads: Loads) -> None:
    """This process's own: its connections, what it has not written yet, whom it leaves alone."""
    while True:
        look_at_pools(pools)
        busy, idle = http.connections()
        metrics.UPSTREAM_CONNECTIONS.labels("busy").set(busy)
        metrics.UPSTREAM_CONNECTIONS.labels("idle").set(idle)
        metrics.USAGE_WAITING.set(recorder.size)
        metrics.UPSTREAMS_RESTING.set(loads.resting())
        await asyncio.sleep(LOOK_SECONDS)


def look_at_pools(pools: Sequence[Pool]) -> None:
    idle = sum(pool.get_idle_size() for pool in pools)
    metrics.POSTGRES_CONNECTIONS.labels("busy").set(sum(pool.get_size() for pool in pools) - idle)
    metrics.POSTGRES_CONNECTIONS.labels("idle").set(idle)
    metrics.POSTGRES_CONNECTIONS_MAX.set(sum(pool.get_max_size() for pool in pools))


async def look_at_money(pool: Pool, networks: Iterable[str]) -> None:
    """The database's: what is held and what is on its way, whichever process it belongs to."""
    holds = await pool.fetchrow(SQL.holds)
    assert holds is not None, "a count is always one row"
    metrics.HOLDS_OPEN.set(holds["open"])
    metrics.HOLDS_EXPIRED.set(holds["expired"])
    ahead = await pool.fetchrow(SQL.ahead)
    assert ahead is not None, "a count is always one row"
    metrics.PURSES_OPEN.set(ahead["purses"])
    metrics.SLIPS_WAITING.set(ahead["slips"])
    metrics.SLIPS_WAITING_SECONDS.set(ahead["slips_oldest_seconds"])
    pending = {row["network"]: row for row in await pool.fetch(SQL.settlements)}
    # A network that was taken out of the settings may still have payments under way.
    for network in {*networks, *pending}:
        row = pending.get(network)
        metrics.SETTLEMENTS_PENDING.labels(network).set(row["pending"] if row else 0)
        metrics.SETTLEMENTS_PENDING_SECONDS.labels(network).set(row["oldest_seconds"] if row else 0)


async def look_at_payouts(pool: Pool) -> None:
    """How many are open and for how long, by whom or what they wait for; none is a number, too."""
    rows = {row["waiting"]: row for row in await pool.fetch(SQL.payouts)}
    for state in ("requested", "submitted", "manual", "suspended", "doubtful"):
        row = rows.get(state)
        metrics.PAYOUTS_OPEN.labels(state).set(row["payouts"] if row else 0)
        metrics.PAYOUTS_OPEN_SECONDS.labels(state).set(row["oldest_seconds"] if row else 0)


async def look_at_promotions(pool: Pool, settings: Settings) -> None:
    """What can still be given away in the assets that are given: the first of each mode."""
    firsts: dict[str, Asset] = {}
    for asset in accounts.of_networks(settings.networks).values():
        firsts.setdefault(asset.mode, asset)
    budgets = {row["asset_id"]: row["budget"] for row in await grants.budgets(pool)}
    for asset in firsts.values():
        budget = budgets.get(asset.id, 0)
        least = to_atomic_down(settings.promotions.low_budget, asset.decimals)
        metrics.PROMOTION_BUDGET.labels(asset.symbol, asset.network).set(budget)
        is_low = settings.promotions.is_offered and budget < least
        metrics.PROMOTION_BUDGET_LOW.labels(asset.symbol, asset.network).set(is_low)
