"""The payment processors that the settings name."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from uuid import UUID

from config.card_payments import Polar
from config.settings import Settings
from control.processors.jobs import Clerk
from control.processors.port import Cards, Orders, Processors
from control.roles.base import Misconfigured
from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew
from gateway.ledger import accounts
from gateway.types import Asset, Mode


@asynccontextmanager
async def charging(settings: Settings) -> AsyncIterator[Processors]:
    """Their SDKs take longer to import than a server, so that only who has a key waits for one."""
    stripe: Cards | None = None
    polar: Orders | None = None
    async with AsyncExitStack() as stack:
        if settings.stripe.secret_key is not None:
            mode = settings.stripe.mode
            asset = deposited(settings, "STRIPE", mode, settings.stripe.asset)
            made = import_module("control.processors.stripe_api").StripeApi(settings.stripe, mode, asset)
            stack.push_async_callback(made.close)
            stripe = made
        if settings.polar.access_token is not None:
            if settings.polar.product_id is None and not settings.polar.products:
                raise Misconfigured(
                    "Set FAREBOX_POLAR__PRODUCT_ID or FAREBOX_POLAR__PRODUCTS: Polar sells products only."
                )
            mode = settings.polar.mode
            asset = deposited(settings, "POLAR", mode, settings.polar.asset)
            made = import_module("control.processors.polar_api").PolarApi(
                sold_for(settings), mode, asset, settings.plans
            )
            stack.push_async_callback(made.close)
            polar = made
        yield Processors(stripe, polar)


def sold_for(settings: Settings) -> Polar:
    """Without products where test money would buy plans that cost live money, or the other way round."""
    is_live = any(not network.is_test for network in settings.networks)
    if is_live == (settings.polar.mode == "live"):
        return settings.polar
    return settings.polar.model_copy(update={"products": {}})


def deposited(settings: Settings, name: str, mode: Mode, chosen: UUID | None) -> Asset:
    """The asset that deposits are credited in: a cent of it is a cent."""
    known = [one for one in accounts.of_networks(settings.networks).values() if one.mode == mode]
    found = [one for one in known if one.decimals >= 2 and chosen in (None, one.id)]
    if not found:
        raise Misconfigured(
            f"No asset of FAREBOX_NETWORKS takes the {mode} money of FAREBOX_{name}: that needs a network of "
            f"this mode with an asset of two decimals or more, and FAREBOX_{name}__ASSET to name such a one."
        )
    return found[0]


@asynccontextmanager
async def clerking(pool: Pool, settings: Settings) -> AsyncIterator[None]:
    """Do what processors tell while the block runs."""
    crew = Crew()
    async with charging(settings) as processors:
        crew.start(Clerk(pool, processors).run())
        try:
            yield
        finally:
            await crew.close()
