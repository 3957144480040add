"""What a query of a publisher's database would cost: the planner's rows at the price of a call."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.operation import Call
from gateway import cost, price, published, question
from gateway.kit.money import to_text
from gateway.kit.problem import NotFound, Refusal, Unavailable, invalid
from gateway.ledger import accounts
from gateway.price import NotForSale
from gateway.snapshot import SQL as PUBLISHED
from gateway.tariffs import Used
from gateway.types import Price, Pricing, Route
from gateway.upstreams.exchange import UpstreamUnreachable
from gateway.upstreams.postgres_refusals import DatabaseBusy, QueryFailed, QuerySlow, RowsTooLarge

FAILURES: Final[list[type[Refusal]]] = [
    NotForSale, QueryFailed, QuerySlow, RowsTooLarge, UpstreamUnreachable, DatabaseBusy, Unavailable,
]  # fmt: skip


class QueryToEstimate(BaseModel, extra="forbid"):
    publisher_id: Annotated[UUID, Field(description="The publisher that the slug names.")]
    query: Annotated[str, Field(min_length=1, max_length=question.STATEMENT_CHARACTERS_MAX)]
    asset_id: Annotated[UUID | None, Field(description="Not set: the publisher's primary asset.")] = None


class Estimate(BaseModel):
    publisher_name: str
    publisher_slug: str
    estimated_rows: Annotated[int, Field(ge=0, description="At most the statement's own limit, or ours.")]
    estimated_cost: Annotated[str, Field(description='Decimal text in units of the asset, like "0.05".')]
    estimated_cost_atomic: Annotated[int, Field(ge=0)]
    asset_symbol: str


async def estimate(call: Call, slug: str, body: QueryToEstimate) -> Estimate:
    if call.ports.queries is None:
        raise Unavailable("this process asks no databases")
    route = await sold(call, slug, body.publisher_id)
    assert route.database is not None, "looked for"
    pricing = next((one for one in route.pricing if body.asset_id in (None, one.asset.id)), None)
    if pricing is None:
        raise invalid("body/asset_id", "is not an asset that the publisher accepts")
    most = call.ports.settings.queries.rows_max
    asked = await question.rows_asked(body.query)
    most = most if asked is None else min(asked, most)
    found = await call.ports.queries.estimate(route.publisher_id, route.database, body.query)
    rows = min(found, most)
    amount = cost_of(pricing, rows, most)
    return Estimate(
        publisher_name=route.name,
        publisher_slug=route.slug,
        estimated_rows=rows,
        estimated_cost=to_text(amount, pricing.asset.decimals),
        estimated_cost_atomic=amount,
        asset_symbol=pricing.asset.symbol,
    )


async def sold(call: Call, slug: str, publisher_id: UUID) -> Route:
    """As the gateway reads it, so that a call costs the same."""
    ports = call.ports
    row = await call.db.fetchrow(PUBLISHED.publishers, publisher_id)
    if row is None or row["slug"] != slug or row["database_sealed"] is None:
        raise NotFound(f"no publisher {publisher_id} sells queries as {slug}")
    assets = accounts.of_networks(ports.settings.networks)
    return published.route(dict(row), assets, ports.modes, ports.keyring)


def cost_of(pricing: Pricing, rows: int, rows_max: int) -> int:
    prices, tariff = pricing.prices, pricing.tariff
    base = price.listed(prices, "POST")
    if base is None and (price.has_list(prices) or (tariff is None and prices)):
        raise NotForSale("this publisher has no price for queries")
    if tariff is None:
        return price.bounded(base or 0, prices)
    ceiling = cost.row_ceiling(prices, tariff, base, rows_max)
    whole = Price(
        pricing.asset, ceiling, pricing.earnings_id, pricing.is_prepaid_enabled, pricing.is_onchain_enabled,
        base=base or 0, floor=prices.get("min_charge", 0), tariff=tariff,
    )  # fmt: skip
    return cost.actual(whole, Used(row_count=rows))
