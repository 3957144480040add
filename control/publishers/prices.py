"""Prices: decimal text at the edge, integers in the asset's atomic unit in the row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.wording import shaped
from gateway.kit import money
from gateway.kit.problem import FieldProblem

Amount = Annotated[
    str,
    Field(max_length=128, description='Decimal text in units of the asset, like "0.05"; "" takes it away.'),
]
Factor = Annotated[
    str,
    shaped(
        r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,18})?$|^$",
        'a number below a million like "1.25", or empty to take it away',
        description='Decimal text like "1.25".',
    ),
]
Minutes = Annotated[int, Field(ge=0, le=525_600)]

AMOUNTS = frozenset(
    {
        "price_per_call",
        "price_per_get",
        "price_per_post",
        "price_per_put",
        "price_per_patch",
        "price_per_delete",
        "price_per_execution",
        "base_price_per_1000_rows",
        "hourly_rate",
        "min_charge",
        "max_charge",
        "minimum_balance",
        "low_balance_threshold",
        "reserve_max_charge",
        "unresolved_fallback_charge",
        "min_display_price",
    }
)
AS_GIVEN = frozenset(
    {
        "markup_multiplier",
        "pricing_model",
        "payment_expiry_minutes",
        "grace_period_minutes",
        "max_queries_per_minute",
        "pricing_display_text",
    }
)

PricingModel = Literal["per_row", "per_request", "per_byte", "tiered", "passthrough"]


class PriceFields(BaseModel):
    """What a publisher and a single price list can both be given."""

    price_per_call: Amount | None = None
    price_per_get: Amount | None = None
    price_per_post: Amount | None = None
    price_per_put: Amount | None = None
    price_per_patch: Amount | None = None
    price_per_delete: Amount | None = None
    price_per_execution: Amount | None = None
    base_price_per_1000_rows: Annotated[
        Amount | None,
        Field(description="Of 1000 rows that a query returns; with the model `per_byte`, of 1000 bytes."),
    ] = None
    hourly_rate: Annotated[
        Amount | None,
        Field(
            description="By the time that it takes: each call of a `compute` publisher, and anybody's "
            "WebSockets. Not with `x402_passthrough`."
        ),
    ] = None
    markup_multiplier: Factor | None = None
    minimum_balance: Annotated[
        Amount | None, Field(description="Prepaid calls are refused while the balance is below it.")
    ] = None
    low_balance_threshold: Amount | None = None
    reserve_max_charge: Annotated[
        Amount | None, Field(description="The most that a call billed by use may cost.")
    ] = None
    unresolved_fallback_charge: Annotated[
        Amount | None, Field(description="What it costs when the upstream does not say.")
    ] = None
    grace_period_minutes: Annotated[
        Minutes | None, Field(description="For so long they are served all the same.")
    ] = None


class TokenExchange(BaseModel):
    """How a publisher's own tokens are got from a token of ours."""

    token_exchange_url: Annotated[str | None, Field(max_length=2048)] = None
    token_exchange_method: Literal["POST", "GET", ""] | None = None
    token_exchange_mode: Literal["header", "body", "query", ""] | None = None
    token_response_field: Annotated[str | None, Field(max_length=200)] = None
    token_cache_ttl_seconds: Annotated[int | None, Field(ge=60, le=86_400)] = None


class Tier(BaseModel, extra="forbid"):
    """The price of a caller's calls of a month, up to that one; null is all the rest."""

    up_to: Annotated[int | None, Field(ge=1, le=10**15)] = None
    price: Annotated[str, Field(max_length=128, description='Decimal text like "0.05".')]


class PricingChange(PriceFields, TokenExchange, extra="forbid"):
    asset_id: Annotated[UUID, Field(description="One of the assets that the publisher accepts.")]
    pricing_model: PricingModel | None = None
    tiers: Annotated[
        list[Tier] | None,
        Field(
            max_length=20,
            description="For the model `tiered`: prices by how many calls the caller made this month (UTC), "
            "the smallest number first. An empty list takes them away.",
        ),
    ] = None
    min_charge: Amount | None = None
    max_charge: Amount | None = None
    min_display_price: Annotated[Amount | None, Field(description="Shown, not charged.")] = None
    pricing_display_text: Annotated[str | None, Field(max_length=500)] = None
    payment_expiry_minutes: Annotated[int | None, Field(ge=1, le=1440)] = None
    max_queries_per_minute: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    prepaid_enabled: Annotated[bool | None, Field(description="Take prepaid balances.")] = None
    onchain_enabled: Annotated[bool | None, Field(description="Take x402 payments.")] = None


class Pricing(BaseModel):
    """A publisher's prices in one asset, as decimal text. Null is a price that was not set."""

    asset_id: UUID
    asset_symbol: str | None = None
    pricing_model: PricingModel = "per_request"
    tiers: list[Tier] | None = None
    price_per_call: str | None = None
    price_per_get: str | None = None
    price_per_post: str | None = None
    price_per_put: str | None = None
    price_per_patch: str | None = None
    price_per_delete: str | None = None
    price_per_execution: str | None = None
    base_price_per_1000_rows: str = "0"
    hourly_rate: str | None = None
    markup_multiplier: str = "1"
    min_charge: str = "0"
    max_charge: str | None = None
    minimum_balance: str = "0"
    low_balance_threshold: str = "0"
    reserve_max_charge: str | None = None
    unresolved_fallback_charge: str | None = None
    min_display_price: str | None = None
    pricing_display_text: str | None = None
    payment_expiry_minutes: int = 5
    grace_period_minutes: int | None = None
    max_queries_per_minute: int | None = None
    prepaid_enabled: bool = True
    onchain_enabled: bool = True


def sent(body: BaseModel) -> dict[str, Any]:
    """What a request says about prices. Null says nothing."""
    return body.model_dump(include={*AMOUNTS, *AS_GIVEN, "tiers"}, exclude_unset=True, exclude_none=True)


def merged(
    stored: Mapping[str, Any], sent: Mapping[str, Any], decimals: int, problems: list[FieldProblem]
) -> dict[str, Any]:
    """The stored prices with those that were sent, empty text taking one away."""
    out = dict(stored)
    for name, value in sent.items():
        if value in ("", []):
            out.pop(name, None)
        elif name == "tiers":
            out[name] = atomic_tiers(value, decimals, "body/tiers/{}/price", problems)
        elif name in AMOUNTS:
            out[name] = atomic(value, decimals, f"body/{name}", problems)
        else:
            out[name] = value
    return out


def atomic(text: str, decimals: int, pointer: str, problems: list[FieldProblem]) -> int:
    try:
        return money.to_atomic(text, decimals)
    except ValueError as error:
        problem = FieldProblem(pointer=pointer, detail=str(error))
        # Every accepted asset is asked; one that has the same to say adds nothing.
        if problem not in problems:
            problems.append(problem)
        return 0


def atomic_tiers(
    tiers: Sequence[Mapping[str, Any]], decimals: int, place: str, problems: list[FieldProblem]
) -> list[dict[str, Any]]:
    return [
        {"up_to": one.get("up_to"), "price": atomic(one["price"], decimals, place.format(position), problems)}
        for position, one in enumerate(tiers)
    ]


def tier_problems(prices: Mapping[str, Any]) -> list[FieldProblem]:
    """A list that leaves no call between two prices."""
    found, before = [], 0
    tiers = prices.get("tiers") or []
    for position, one in enumerate(tiers):
        up_to = one["up_to"]
        is_last = position == len(tiers) - 1
        if (up_to is None and not is_last) or (up_to is not None and up_to <= before):
            detail = "is not more than that of the tier before, or is missing before the last tier"
            found.append(FieldProblem(pointer=f"body/tiers/{position}/up_to", detail=detail))
        before = up_to or before
    if prices.get("pricing_model") == "tiered" and not tiers:
        found.append(FieldProblem(pointer="body/tiers", detail="is required for the model tiered"))
    return found


def rate_problems(
    billing: str | None, listed: Iterable[Mapping[str, Any]], pointer: str
) -> Iterator[FieldProblem]:
    """Refused and not passed over: whoever sets a rate counts on it."""
    if billing == "x402_passthrough" and any(one.get("hourly_rate") for one in listed):
        detail = "there is no hourly_rate with x402_passthrough: a call costs what the API asks, and the fee"
        yield FieldProblem(pointer=pointer, detail=detail)


def re_expressed(
    stored: Mapping[str, Any], decimals: int, wanted: int, problems: list[FieldProblem]
) -> dict[str, Any]:
    """The same prices in another asset: a new asset without prices would be a way in for nothing."""
    text = as_text(stored, decimals)
    out = {
        name: atomic(value, wanted, "body/add_asset_ids", problems) if name in AMOUNTS else value
        for name, value in text.items()
    }
    if "tiers" in text:
        out["tiers"] = atomic_tiers(text["tiers"], wanted, "body/add_asset_ids", problems)
    return out


def check_endpoints(
    endpoints: Sequence[Mapping[str, Any]], decimals: int, place: str, problems: list[FieldProblem]
) -> None:
    for position, one in enumerate(endpoints):
        if one.get("price") is not None:
            atomic(one["price"], decimals, place.format(position), problems)


def as_text(prices: Mapping[str, Any], decimals: int) -> dict[str, Any]:
    out = {
        name: money.to_text(value, decimals) if name in AMOUNTS else value for name, value in prices.items()
    }
    if "tiers" in prices:
        out["tiers"] = [{**one, "price": money.to_text(one["price"], decimals)} for one in prices["tiers"]]
    return out
