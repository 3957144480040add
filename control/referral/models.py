from typing import Annotated

from pydantic import BaseModel, Field


class ReferralInfo(BaseModel):
    """Amounts are in millionths of a dollar, in the money of your key."""

    referral_code: str
    referral_url: str
    total_referrals: Annotated[int, Field(description="Who applied your code.")]
    total_earnings_atomic: Annotated[int, Field(description="What you were given for them.")]
    total_earnings_usd: str
    pending_earnings_atomic: Annotated[
        int, Field(description="What you will be given once those who have not deposited yet do.")
    ]
    pending_earnings_usd: str


class ApplyReferralRequest(BaseModel, extra="forbid"):
    referral_code: Annotated[str, Field(min_length=1, max_length=64)]
