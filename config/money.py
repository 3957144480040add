"""Settings of the sections that are about money."""

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, Field


class Fees(BaseModel, frozen=True, extra="forbid"):
    platform_basis_points: Annotated[int, Field(ge=0, le=10_000)] = 0


class Payouts(BaseModel, frozen=True, extra="forbid"):
    minimum: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$")] = "1"
    is_manual: bool = False
    after_days: Annotated[int, Field(ge=0, le=365)] = 0

    @property
    def age(self) -> timedelta:
        return timedelta(days=self.after_days)


class Wallet(BaseModel, frozen=True, extra="forbid"):
    low_balance_threshold: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$")] = "1"


class Reconcile(BaseModel, frozen=True, extra="forbid"):
    hour: Annotated[int, Field(ge=0, le=23)] = 3


class Facilitation(BaseModel, frozen=True, extra="forbid"):
    """What settling for others may cost, in gas units; 0 settles for nobody."""

    gas_per_organization_per_day: Annotated[int, Field(ge=0)] = 0
    gas_per_day: Annotated[int, Field(ge=0)] = 0
