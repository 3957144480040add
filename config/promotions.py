"""What the platform gives away: nothing, unless the operator says otherwise. Strangers can be anybody."""

from typing import Annotated

from pydantic import BaseModel, Field

Amount = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,18})?$")]
"""In units of the asset that is given, which is the first one that the settings list in the key's mode."""


class Promotions(BaseModel, frozen=True, extra="forbid"):
    signup_bonus: Amount = "0"
    payment_method_bonus: Amount = "0"
    daily_claim: Amount = "0"
    daily_claims_per_month: Annotated[int, Field(ge=1, le=31)] = 31
    referrer_bonus: Amount = "0"
    referred_bonus: Amount = "0"
    expire_days: Annotated[int, Field(ge=1, le=3650)] = 90
    is_proof_needed: bool = True
    deposit_min: Amount = "1"
    claims_per_address_per_day: Annotated[int, Field(ge=1)] = 20
    people_claims_per_address_per_day: Annotated[int, Field(ge=0)] = 0
    low_budget: Amount = "100"

    @property
    def is_offered(self) -> bool:
        amounts = (
            self.signup_bonus, self.payment_method_bonus, self.daily_claim, self.referrer_bonus,
            self.referred_bonus,
        )  # fmt: skip
        return any(amount.strip("0.") for amount in amounts)
