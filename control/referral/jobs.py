"""Those who brought somebody along are rewarded when the newcomer has deposited."""

import structlog

from config.settings import Settings
from control.giving import claims
from control.giving.claims import BudgetEmpty
from control.referral import store
from control.referral.store import Referral
from gateway.kit.sql import Pool

# Looked at in one run; those that were looked at come last again.
BATCH = 200

log = structlog.get_logger(__name__)


async def reward(pool: Pool, settings: Settings) -> int:
    """Reward whom it is time to, and return how many referrals that were."""
    rewarded = 0
    for one in await store.look(pool, BATCH):
        try:
            if await claims.has_deposited(pool, settings, one.organization_id, one.mode):
                rewarded += await reward_both(pool, settings, one)
        except BudgetEmpty:
            # The next run tries again, when the operator may have filled it.
            log.warning("referral.unpaid", referral_id=str(one.id))
    return rewarded


async def reward_both(pool: Pool, settings: Settings, one: Referral) -> bool:
    """Each side in a transaction of its own, so that accounts are locked in order; a cause gives once.

    A crash in between leaves a referral that is looked at again, and only the referrer is still given theirs.
    """
    promotions = settings.promotions
    referred = claims.offer(settings, one.mode, promotions.referred_bonus)
    referrer = claims.offer(settings, one.mode, promotions.referrer_bonus)
    if referred is not None:
        async with pool.acquire() as db, db.transaction():
            cause_id = claims.cause("referred", one.id)
            text = "Referral: you were brought along"
            await claims.give(db, settings, one.organization_id, referred, "referral", cause_id, text)
    async with pool.acquire() as db, db.transaction():
        is_there = await store.take(db, one.id)
        if is_there is None:
            return False
        earned = 0
        if referrer is not None and is_there:
            cause_id = claims.cause("referrer", one.id)
            text = "Referral: you brought somebody along"
            await claims.give(db, settings, one.referrer_id, referrer, "referral", cause_id, text)
            earned = referrer.amount_millionths
        await store.rewarded(db, one.id, earned)
    return True
