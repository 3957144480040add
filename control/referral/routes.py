from control.api.answers import Done
from control.api.operation import Call, Room
from control.api.paging import Data
from control.giving import claims
from control.giving.claims import BonusNotOffered
from control.referral import rules, store
from control.referral.models import ApplyReferralRequest, ReferralInfo
from gateway.kit.money import usd
from gateway.kit.problem import Refusal

room = Room("referral", "/wallet/referral")


class InvalidReferralCode(Refusal):
    status, slug, title = 400, "referral-code-invalid", "Invalid referral code"


class AlreadyReferred(Refusal):
    status, slug, title = 409, "already-referred", "Already has a referrer"


class ReferralTooLate(Refusal):
    status, slug, title = 409, "referral-too-late", "Not new any more"


@room.get(access="wallet.read", id="get_referral_info")
async def info(call: Call) -> Data[ReferralInfo]:
    """Show your organization's referral code, and what it was given for those who applied it.

    You are rewarded once somebody who applied your code has deposited.
    """
    actor, settings = call.actor, call.ports.settings
    code = await store.code_of(call.db, actor.organization_id)
    sums = await store.sums(call.db, actor.organization_id, actor.mode)
    what = claims.offer(settings, actor.mode, settings.promotions.referrer_bonus)
    pending = sums.pending * (what.amount_millionths if what else 0)
    answer = ReferralInfo(
        referral_code=code,
        referral_url=f"{call.ports.origin}/?referral_code={code}",
        total_referrals=sums.referrals,
        total_earnings_atomic=sums.earned,
        total_earnings_usd=usd(sums.earned),
        pending_earnings_atomic=pending,
        pending_earnings_usd=usd(pending),
    )
    return Data(data=answer)


@room.post(
    "/apply",
    access="wallet.deposit",
    fails=[InvalidReferralCode, AlreadyReferred, ReferralTooLate, BonusNotOffered],
    id="apply_referral_code",
)
async def apply(call: Call, *, body: ApplyReferralRequest) -> Done:
    """Say who brought you along, before your first deposit.

    Once for whoever made the organization, and nobody brings themselves along, neither by another
    organization of theirs nor by one that shares a member. Both sides are rewarded when you have deposited.
    """
    actor, promotions = call.actor, call.ports.settings.promotions
    if not any(
        claims.offer(call.ports.settings, actor.mode, amount)
        for amount in (promotions.referrer_bonus, promotions.referred_bonus)
    ):
        raise BonusNotOffered(f"the operator gives nothing for referrals in {actor.mode} money")
    who = await claims.claimant_of(call)
    if await store.is_referred(call.db, who.person_id, who.mode):
        raise AlreadyReferred("you have a referrer, in this organization or in another one of yours")
    code = rules.normal(body.referral_code)
    owner = await store.owner(call.db, code, who.organization_id) if code else None
    if owner is None:
        raise InvalidReferralCode("nobody has this referral code")
    referrer_id, is_own = owner
    if is_own:
        raise InvalidReferralCode("this is your own code, or that of somebody you share an organization with")
    if await claims.deposited(call.db, who.organization_id, who.mode):
        raise ReferralTooLate("a referral code is applied before the first deposit")
    made = await store.insert(call.db, who.person_id, who.organization_id, who.mode, referrer_id)
    if made is None:
        raise AlreadyReferred("you have a referrer, in this organization or in another one of yours")
    call.about(made)
    return Done()
