from dataclasses import dataclass
from uuid import UUID

from control.api.operation import Call, Room
from control.api.paging import Data
from control.daily.models import DailyClaimed, Eligibility
from control.giving import claims
from control.giving.claims import BudgetEmpty, Claimant, Offer, TooManyClaims
from gateway.kit.money import usd
from gateway.kit.problem import Refusal

room = Room("daily", "/wallet/daily")


class NotEligible(Refusal):
    status, slug, title = 400, "not-eligible", "Not eligible for the daily claim"


@dataclass(frozen=True, slots=True)
class Today:
    """One person's claim of one day."""

    who: Claimant
    what: Offer | None
    cause_id: UUID
    claims_left: int
    is_claimed: bool
    reason: str | None


@room.post(
    "/claim", access="wallet.deposit", fails=[NotEligible, BudgetEmpty, TooManyClaims], id="claim_daily"
)
async def claim(call: Call) -> Data[DailyClaimed]:
    """Claim what is given away today, if anything is.

    Once on a UTC day for whoever made the organization, and so often in a month. It is promotional money:
    spent first, and gone when it expires.
    """
    who = await claims.claimant_of(call)
    today = await look(call, who)
    if today.reason is not None or today.what is None:
        raise NotEligible(today.reason or "nothing is offered")
    await claims.require(call, who)
    settings, what = call.ports.settings, today.what
    grant = await claims.give(
        call.db, settings, who.organization_id, what, "daily", today.cause_id, "Daily claim"
    )
    if grant is None:
        raise NotEligible("you have claimed today")
    call.about(grant["id"])
    balance = await claims.balance(call.db, who.organization_id, who.mode)
    answer = DailyClaimed(
        success=True,
        amount_atomic=what.amount_millionths,
        amount_usd=usd(what.amount_millionths),
        balance_atomic=balance,
        balance_usd=usd(balance),
        claims_remaining_this_month=today.claims_left - 1,
    )
    return Data(data=answer)


@room.get("/eligibility", access="wallet.read", id="check_daily_eligibility")
async def eligibility(call: Call) -> Data[Eligibility]:
    """Show whether you can claim today, and if not, why."""
    today = await look(call, await claims.claimant(call.db, call.actor.organization_id, call.actor.mode))
    answer = Eligibility(
        can_claim=today.reason is None,
        claims_remaining_this_month=today.claims_left if today.what else 0,
        claim_amount_usd=usd(today.what.amount_millionths) if today.what else None,
        reason=today.reason,
        resets_in_seconds=claims.seconds_to_midnight() if today.is_claimed else None,
    )
    return Data(data=answer)


async def look(call: Call, who: Claimant) -> Today:
    settings = call.ports.settings
    what = claims.offer(settings, who.mode, settings.promotions.daily_claim)
    cause_id = claims.cause("daily", who.mode, who.person_id, await claims.today(call.db))
    is_claimed = await claims.is_given(call.db, cause_id)
    left = await claims.claims_left(call.db, settings, who)
    reason: str | None = None
    if what is None:
        reason = f"the operator gives nothing away in {who.mode} money"
    elif is_claimed:
        reason = "you have claimed today"
    elif not left:
        reason = "you have claimed as often as one may in a month"
    elif not await claims.has_proof(call.db, settings, who):
        least = settings.promotions.deposit_min
        reason = f"sign up with an e-mail address and verify it, or deposit ${least} or more first"
    return Today(who, what, cause_id, left, is_claimed, reason)
