from typing import Literal

from control.api.operation import Call, Room
from control.api.paging import Data
from control.bonus.models import BonusClaimed
from control.giving import claims
from control.giving.claims import BonusAlreadyClaimed, Claimant, Offer
from gateway.kit.money import usd
from gateway.kit.problem import Refusal

room = Room("bonus", "/wallet/bonus")


class PaymentMethodNeeded(Refusal):
    status, slug, title = 409, "payment-method-needed", "Add a payment method first"


@room.post("/signup", access="wallet.deposit", fails=claims.REFUSALS, id="claim_signup_bonus")
async def signup(call: Call) -> Data[BonusClaimed]:
    """Claim the bonus for having signed up, if one is offered.

    Whoever made the organization claims it once, whatever other organizations they make. It needs a verified
    e-mail address or a deposit. It is promotional money: spent first, gone when it expires, and paid out to
    nobody but the publishers it is spent with.
    """
    what = claims.offered(call, call.ports.settings.promotions.signup_bonus)
    who = await claims.claimant_of(call)
    await refuse_second(call, who, "signup")
    await claims.require(call, who)
    return await given(call, who, what, "signup", "Signup bonus")


@room.post(
    "/payment-method",
    access="wallet.deposit",
    fails=[*claims.REFUSALS, PaymentMethodNeeded],
    id="claim_payment_method_bonus",
)
async def payment_method(call: Call) -> Data[BonusClaimed]:
    """Claim the bonus for your organization's first payment method, if one is offered.

    Once for whoever made the organization, and once for a card, whoever has it. What is given is as with the
    bonus for signing up.
    """
    what = claims.offered(call, call.ports.settings.promotions.payment_method_bonus)
    who = await claims.claimant_of(call)
    await refuse_second(call, who, "payment_method")
    cards = await claims.cards(call.db, who)
    if not cards:
        raise PaymentMethodNeeded(f"your organization has no payment method for {who.mode} money yet")
    await claims.require(call, who)
    if not await claims.take_card(call.db, cards, who.mode):
        raise BonusAlreadyClaimed("somebody had the bonus for this card")
    return await given(call, who, what, "payment_method", "Payment method bonus")


async def refuse_second(call: Call, who: Claimant, bonus: str) -> None:
    if await claims.is_given(call.db, claims.cause(bonus, who.mode, who.person_id)):
        raise BonusAlreadyClaimed("you have had it, in this organization or in another one of yours")


async def given(
    call: Call, who: Claimant, what: Offer, bonus: Literal["signup", "payment_method"], text: str
) -> Data[BonusClaimed]:
    cause_id = claims.cause(bonus, who.mode, who.person_id)
    settings = call.ports.settings
    grant = await claims.give(call.db, settings, who.organization_id, what, bonus, cause_id, text)
    if grant is None:
        raise BonusAlreadyClaimed("you have had it, in this organization or in another one of yours")
    call.about(grant["id"])
    amount = what.amount_millionths
    return Data(
        data=BonusClaimed(success=True, amount_atomic=amount, amount_usd=usd(amount), bonus_type=bonus)
    )
