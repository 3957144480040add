"""How much of its quotas an organization uses, and what happens at their ends.

What is created is counted under a lock on the organization, in the transaction that creates it: of two at
the limit the second finds the first. What is used by and by is looked at by a job, and calls beyond a hard
quota are refused by gateways, which learn of it from a row.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from config.plans import QUOTAS, Plan, Quota
from control.mail import outbox
from control.mail.letters import Letter
from control.quotas.catalogue import applying
from gateway.identify import QuotaExceeded
from gateway.kit.problem import Refusal
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import events
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)

NEAR_PERCENT, FULL_PERCENT = 80, 100
NEWS_LIFETIME = timedelta(days=7)
BATCH = 200
FIRST = UUID(int=0)
# Counted when they are created; the others by and by.
BY_AND_BY: tuple[Quota, ...] = ("calls_per_month", "compute_seconds", "storage_bytes")
# Of these nothing is used when a month begins, so they are in no smaller plan's way.
ANEW: tuple[Quota, ...] = ("calls_per_month", "compute_seconds")


class PlanTooSmall(Refusal):
    status, slug, title = 409, "plan-too-small", "The plan is too small for what is used"


async def plan_of(db: Db, plans: Sequence[Plan], organization_id: UUID) -> Plan:
    return applying(plans, await db.fetchval(SQL.plan, organization_id))


async def plan_after(db: Db, plans: Sequence[Plan], organization_id: UUID) -> Plan | None:
    """The smaller one that was chosen and follows when the month is over."""
    found = await db.fetchval(SQL.plan_after, organization_id)
    return None if found is None else applying(plans, found)


async def lock(db: Db, organization_id: UUID) -> None:
    """Until this transaction ends, nobody creates what has a quota, or changes the plan."""
    await db.execute(SQL.lock, organization_id)


async def used(db: Db, organization_id: UUID) -> Mapping[Quota, int]:
    """Now, or in this month (UTC)."""
    row = await db.fetchrow(SQL.used, organization_id)
    assert row is not None, "it is a row of sums"
    return {quota: int(row[quota]) for quota in QUOTAS}


async def require(
    db: Db, plans: Sequence[Plan], organization_id: UUID, quota: Quota, *, adding: int = 1
) -> None:
    """Before something is created in this transaction, or after it with ``adding=0``.

    Raises ``QuotaExceeded`` where there is no room for it, and tells the organization where there is little.
    A smaller plan that follows counts already: it was refused if more was there, so no more is made now.
    """
    if organization_id == PLATFORM or not any(quota in plan.quotas for plan in plans):
        return
    await lock(db, organization_id)
    then = (await used(db, organization_id))[quota] + adding
    plan = await plan_of(db, plans, organization_id)
    follows = await plan_after(db, plans, organization_id)
    # What is used by then begins anew under the plan that follows.
    for one in (plan, None if quota in ANEW else follows):
        if one is not None and is_beyond(one, quota, then):
            raise no_room(one, quota, "" if one is plan else ", which follows this month,")
    if quota in plan.quotas:
        await warn(db, organization_id, plan, quota, then)


async def require_unspent(db: Db, plans: Sequence[Plan], organization_id: UUID, quota: Quota) -> None:
    """Raises ``QuotaExceeded`` when what is used by and by is used up. Locks nothing and tells nobody: it is
    asked outside of a transaction, by whoever is about to use more.
    """
    if organization_id == PLATFORM or not any(quota in plan.quotas for plan in plans):
        return
    plan = await plan_of(db, plans, organization_id)
    if quota in plan.quotas and is_beyond(plan, quota, (await used(db, organization_id))[quota] + 1):
        raise no_room(plan, quota)


def no_room(plan: Plan, quota: Quota, when: str = "") -> QuotaExceeded:
    return QuotaExceeded(
        f"the plan {plan.name}{when} has room for {plan.quotas[quota]} {quota}, and they are used"
    )


def is_beyond(plan: Plan, quota: Quota, count: int) -> bool:
    limit = plan.quotas.get(quota)
    return limit is not None and count > limit and quota not in plan.soft


async def warn(db: Db, organization_id: UUID, plan: Plan, quota: Quota, count: int) -> None:
    """Tell by event and mail that a quota is nearly, or wholly, used: each once in a month."""
    limit = plan.quotas[quota]
    crossed = [one for one in (NEAR_PERCENT, FULL_PERCENT) if limit and count * 100 >= limit * one]
    if not crossed:
        return
    fresh = [row["percent"] for row in await db.fetch(SQL.warn, organization_id, quota, crossed)]
    if not fresh:
        return
    is_full = FULL_PERCENT in fresh
    is_hard = quota not in plan.soft
    told = {
        "quota": quota, "used": str(count), "limit": str(limit), "plan": plan.id, "is_hard": is_hard,
    }  # fmt: skip
    await events.emit(db, organization_id, "quota.reached" if is_full else "quota.near", told)
    for one in await db.fetch(SQL.owners, organization_id):
        written = letter(one["name"], one["organization"], plan, quota, count, is_full=is_full)
        await outbox.post(db, one["email"], written, NEWS_LIFETIME)


def letter(owner: str, organization: str, plan: Plan, quota: Quota, count: int, *, is_full: bool) -> Letter:
    what = quota.replace("_", " ")
    state = "has used up" if is_full else "has nearly used up"
    consequence = "Nothing is refused yet."
    if is_full and quota not in plan.soft:
        stops = quota == "compute_seconds"
        consequence = "Databases that run are stopped, and not woken." if stops else "More is refused."
    return Letter(
        f"{organization} {state} a quota",
        f"Hello {owner},",
        f"{organization} {state} what the plan {plan.name} has of {what}: {count} of {plan.quotas[quota]}. "
        f"{consequence} A larger plan has room for more.",
        "You get this letter because you own the organization.",
    )


async def watch(pool: Pool, plans: Sequence[Plan]) -> None:
    """Look at what organizations that are active have used by and by; block calls beyond a hard quota."""
    await pool.execute(SQL.prune_blocks)
    await pool.execute(SQL.prune_warnings)
    if not any(plan.quotas.keys() & set(BY_AND_BY) for plan in plans):
        return
    after = FIRST
    while found := await pool.fetch(SQL.active, after, BATCH):
        for row in found:
            counts = {quota: row[quota] for quota in BY_AND_BY}
            plan = applying(plans, row["plan_id"])
            if any(is_near(plan, quota, counts[quota]) for quota in BY_AND_BY):
                await tell(pool, plans, row["organization_id"], counts)
        after = found[-1]["organization_id"]


def is_near(plan: Plan, quota: Quota, count: int) -> bool:
    limit = plan.quotas.get(quota)
    return limit is not None and count * 100 >= limit * NEAR_PERCENT


async def tell(pool: Pool, plans: Sequence[Plan], organization_id: UUID, counts: Mapping[Quota, int]) -> None:
    async with pool.acquire() as db, db.transaction():
        await lock(db, organization_id)
        # It may have been changed meanwhile, and what it was must block nobody.
        plan = await plan_of(db, plans, organization_id)
        for quota in BY_AND_BY:
            if quota in plan.quotas:
                await warn(db, organization_id, plan, quota, counts[quota])
        if is_spent(plan, counts):
            await db.execute(SQL.block, organization_id)


def is_spent(plan: Plan, counts: Mapping[Quota, int]) -> bool:
    """Whether there is no call left in this month."""
    limit = plan.quotas.get("calls_per_month")
    return limit is not None and "calls_per_month" not in plan.soft and counts["calls_per_month"] >= limit


async def release(db: Db, organization_id: UUID) -> None:
    """The plan was changed: whether calls are beyond the new one is found out anew."""
    await db.execute(SQL.release, organization_id)


async def fit(db: Db, organization_id: UUID, plan: Plan, before: Plan | None = None) -> None:
    """``PlanTooSmall`` says what a plan lacks that follows, or takes the place of ``before`` at once."""
    counts = await used(db, organization_id)
    if named := exceeded(plan, counts, before):
        beyond = ", ".join(f"{counts[quota]} {quota} of {plan.quotas[quota]}" for quota in named)
        raise PlanTooSmall(f"more is used than {plan.name} has room for: {beyond}")


def exceeded(plan: Plan, counts: Mapping[Quota, int], before: Plan | None) -> list[Quota]:
    """The hard quotas of another plan that are too small for what there is when it holds.

    One that takes the place of ``before`` at once is in nobody's way where it has as much room or more, and
    what begins anew with the month has not begun anew by then. A plan that follows has no ``before``.
    """
    beyond = [quota for quota in plan.quotas if is_beyond(plan, quota, counts[quota])]
    if before is None:
        return [quota for quota in beyond if quota not in ANEW]
    return [quota for quota in beyond if is_smaller(plan, before, quota)]


def is_smaller(plan: Plan, before: Plan, quota: Quota) -> bool:
    had = before.quotas.get(quota)
    return had is None or quota in before.soft or plan.quotas[quota] < had
