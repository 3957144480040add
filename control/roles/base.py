"""What every role stands on: the database, the chains, and how long a call may last."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from config.settings import Settings
from control import migrate
from control.roles.computing import Computes, computing
from gateway.kit import sql
from gateway.kit.groups import Crowd
from gateway.kit.sql import Pool
from gateway.kit.stack import stay_shallow
from gateway.ledger import accounts
from gateway.ledger.accounts import AssetChanged
from gateway.x402.facilitator import ChainMismatch
from gateway.x402.facilitators import facilitator
from gateway.x402.offers import Offers
from gateway.x402.settlement import Settlements

# A hold outlives the longest call by this much, so it never expires under one.
HOLD_MARGIN_SECONDS = 60


class Misconfigured(Exception):
    """The settings contradict the database or a chain; the text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Base:
    """What every role stands on."""

    settings: Settings
    dsn: str
    pool: Pool
    ledger: Pool
    """Of its own, so that no other query keeps the money of a call waiting."""
    settlements: Settlements
    offers: Offers
    origin: str
    computes: Computes
    """Who runs projects' databases."""

    @property
    def settle_lifetime(self) -> timedelta:
        """How long a caller may be asking a remote facilitator, which must not be asked by two at once."""
        remote = (one.settle_timeout_seconds for one in self.settings.networks if one.facilitator_url)
        return timedelta(seconds=max(remote, default=0))

    @property
    def call_lifetime(self) -> timedelta:
        """No call is still running after this long, so what it left open may be closed."""
        settling = max((one.settle_timeout_seconds for one in self.settings.networks), default=0)
        seconds = self.settings.upstream.total_timeout_seconds + settling + HOLD_MARGIN_SECONDS
        return timedelta(seconds=seconds)


@asynccontextmanager
async def based(settings: Settings, origin: str) -> AsyncIterator[Base]:
    assert settings.postgres.dsn is not None, "the command line gives every role a database"
    stay_shallow()
    dsn = settings.postgres.dsn.get_secret_value()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(sql.create_pool(dsn, size_max=settings.postgres.pool_size))
        await migrate.check(pool)
        try:
            await accounts.publish_assets(pool, settings.networks)
        except AssetChanged as error:
            raise Misconfigured(str(error)) from None
        size = settings.postgres.ledger_pool_size
        ledger = await stack.enter_async_context(sql.create_pool(dsn, size_max=size, is_planned_once=True))
        # Whoever pays on chain, on whichever: one by one they pass through the same groups. A payment is
        # committed three times, so a third of all can be at each commit.
        crowd = Crowd(parts=3)
        facilitators = {network.id: facilitator(ledger, network, crowd) for network in settings.networks}
        for one in facilitators.values():
            stack.push_async_callback(one.close)
            try:
                await one.start()
            except ChainMismatch as error:
                raise Misconfigured(f"{error}. Mend FAREBOX_NETWORKS.") from None
        waits = {network.id: network.settle_timeout_seconds for network in settings.networks}
        settlements = Settlements(ledger, facilitators, waits, crowd)
        stack.push_async_callback(settlements.close)
        await settlements.bookings.start()
        computes = await stack.enter_async_context(computing(settings.computes))
        yield Base(settings, dsn, pool, ledger, settlements, Offers(settings.networks), origin, computes)
