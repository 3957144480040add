"""What is looked at every few seconds."""

import asyncio
from datetime import timedelta

from prometheus_client import REGISTRY

from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger.holds import Holds
from gateway.ledger.purses import Purses
from gateway.metering import gauges
from tests.gateway.charges import charge_of
from tests.gateway.conftest import USDC, Ledger, Seller


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_open_holds_are_counted_and_overdue_ones_apart(
    pool: Pool, ledger: Ledger, seller: Seller
) -> None:
    owner = await ledger.funded(100)
    lasting, short = Holds(pool, timedelta(hours=1)), Holds(pool, timedelta(seconds=-1))
    closed = ids.new()
    for holds, call_id in ((lasting, ids.new()), (lasting, closed), (short, ids.new())):
        assert (await holds.open(seller.opening(owner, 10, call_id))).is_open
    await lasting.void(closed)
    await gauges.look_at_money(pool, ["eip155:1"])
    assert (value("farebox_holds_open"), value("farebox_holds_expired")) == (2, 1)
    # A network without pending payments says so: an absent number cannot be told from a broken one.
    assert value("farebox_settlements_pending", network="eip155:1") == 0
    await lasting.close()
    await short.close()


async def test_purses_and_what_they_paid_are_counted(pool: Pool, ledger: Ledger, seller: Seller) -> None:
    owner = await ledger.funded(10**6)
    purses = Purses(pool, timedelta(hours=1))
    while (purse := purses.draw(owner, USDC.id, 10)) is None:
        await asyncio.gather(*purses.crew.tasks)
    assert await purses.charge(charge_of(purse, seller.earnings_id, seller.posting(ids.new(), 10)))
    await gauges.look_at_money(pool, [])
    assert (value("farebox_purses_open"), value("farebox_slips_waiting")) == (1, 1)
    assert 0 < (value("farebox_slips_waiting_seconds") or 0) < 30
    await purses.close()
    await gauges.look_at_money(pool, [])
    assert (value("farebox_purses_open"), value("farebox_slips_waiting")) == (0, 0)
    assert value("farebox_slips_waiting_seconds") == 0


async def test_pending_settlements_are_counted_by_network_with_the_oldest_ones_age(
    pool: Pool, seller: Seller
) -> None:
    await pool.execute(
        """INSERT INTO payments (id, purpose, asset_id, payer, nonce, pay_to, amount, valid_after,
               valid_before, signature, request_digest, credit_id, is_owed, state, created_at)
           SELECT gen_random_uuid(), 'call', accounts.asset_id, $2, decode(lpad(n::text, 64, '0'), 'hex'), $2,
               5, 0, 9, decode(repeat('00', 65), 'hex'), decode(repeat('00', 32), 'hex'), accounts.id, true,
               CASE n WHEN 3 THEN 'settled' ELSE 'submitted' END, now() - n * interval '100 seconds'
           FROM accounts, generate_series(1, 3) AS n WHERE accounts.id = $1""",
        seller.earnings_id,
        "0x" + "a" * 40,
    )
    network = await pool.fetchval("SELECT network FROM assets LIMIT 1")
    await gauges.look_at_money(pool, [])
    assert value("farebox_settlements_pending", network=network) == 2
    oldest = value("farebox_settlements_pending_seconds", network=network)
    assert oldest is not None
    assert 199 < oldest < 260


async def test_a_pool_says_what_is_busy(pool: Pool) -> None:
    async with pool.acquire():
        gauges.look_at_pools([pool])
        assert value("farebox_postgres_connections", state="busy") == 1
    gauges.look_at_pools([pool])
    assert value("farebox_postgres_connections", state="busy") == 0
    assert value("farebox_postgres_connections_limit") == pool.get_max_size()
