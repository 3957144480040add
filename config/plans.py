"""What organizations can subscribe to, and how they are sent invoices."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, Field

Quota: TypeAlias = Literal[
    "projects",
    "members",
    "api_keys",
    "publishers",
    "branches",
    "calls_per_month",
    "compute_seconds",
    "storage_bytes",
]
QUOTAS: tuple[Quota, ...] = get_args(Quota)
Billed: TypeAlias = Literal["compute_hours", "storage_gb_months", "egress_gb"]

Count = Annotated[int, Field(ge=0, le=2**53)]
Dollars = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,2})?$")]
UnitPrice = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,9})?$")]


class Plan(BaseModel, frozen=True, extra="forbid"):
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=1000)] = ""
    price_per_month: Dollars = "0"
    quotas: Mapping[Quota, Count] = {}
    soft: tuple[Quota, ...] = ()
    included: Mapping[Billed, Count] = {}
    prices: Mapping[Billed, UnitPrice] = {}
    support: Annotated[str, Field(min_length=1, max_length=100)] = "community"

    @property
    def price_cents(self) -> int:
        whole, _, rest = self.price_per_month.partition(".")
        return int(whole) * 100 + int(rest.ljust(2, "0"))


def are_a_catalogue(plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
    names = [plan.id for plan in plans]
    if len(set(names)) != len(names):
        raise ValueError("a plan is listed twice")
    if not plans or plans[0].price_cents:
        raise ValueError("the first plan is for those who chose none: it has to be there and cost nothing")
    return plans


Plans = Annotated[tuple[Plan, ...], AfterValidator(are_a_catalogue)]
FREE = Plan(id="free", name="Free")


class Invoicing(BaseModel, frozen=True, extra="forbid"):
    is_automatic: bool = True
    issuer: Annotated[str, Field(max_length=1000)] = ""
    due_days: Annotated[int, Field(ge=0, le=365)] = 14
    suspend_after_days: Annotated[int, Field(ge=0, le=365)] = 0
