"""Who may be given promotional money, and that it is given once.

What somebody claims is theirs and not their organization's: whoever makes many teams claims once. Nothing is
given to somebody who proved nothing, because anybody can make as many agents as they like.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from asyncpg import Record

from config.settings import Settings
from control.api.operation import Call
from control.identity import people
from gateway.kit.addresses import unit
from gateway.kit.money import MILLIONTHS, millionths, to_atomic_down
from gateway.kit.problem import Refusal
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import accounts, grants
from gateway.ledger.grants import NewGrant, Reason
from gateway.ledger.moves import Short
from gateway.types import Asset, Mode

SQL = Statements(__file__)


class BonusNotOffered(Refusal):
    status, slug, title = 409, "bonus-not-offered", "The bonus is not offered"


class BonusAlreadyClaimed(Refusal):
    status, slug, title = 409, "bonus-already-claimed", "The bonus was claimed before"


class ProofNeeded(Refusal):
    status, slug, title = 409, "proof-needed", "Verify an address or deposit first"


class BudgetEmpty(Refusal):
    status, slug, title = 409, "promotion-budget-empty", "The promotion budget is empty"


class TooManyClaims(Refusal):
    status, slug, title = 429, "too-many-claims", "Too many claims from this address"


REFUSALS = (BonusNotOffered, BonusAlreadyClaimed, ProofNeeded, BudgetEmpty, TooManyClaims)


@dataclass(frozen=True, slots=True)
class Offer:
    """What is given, in the asset that it is given in."""

    asset: Asset
    amount: int

    @property
    def amount_millionths(self) -> int:
        return millionths(self.amount, self.asset.decimals)


@dataclass(frozen=True, slots=True)
class Claimant:
    organization_id: UUID
    person_id: UUID
    """Who made the organization."""
    mode: Mode
    is_agent: bool
    is_verified: bool


def offer(settings: Settings, mode: Mode, amount: str) -> Offer | None:
    """None when nothing is offered."""
    assets = accounts.of_networks(settings.networks).values()
    asset = next((one for one in assets if one.mode == mode), None)
    atomic = to_atomic_down(amount, asset.decimals) if asset else 0
    return Offer(asset, atomic) if asset and atomic else None


def offered(call: Call, amount: str) -> Offer:
    found = offer(call.ports.settings, call.actor.mode, amount)
    if found is None:
        raise BonusNotOffered(f"the operator gives nothing for this in {call.actor.mode} money")
    return found


async def claimant(db: Db, organization_id: UUID, mode: Mode) -> Claimant:
    row = await db.fetchrow(SQL.claimant, organization_id)
    assert row is not None, "who acts does so in an organization"
    return Claimant(organization_id, row["person_id"], mode, row["is_agent"], row["is_verified"])


async def claimant_of(call: Call) -> Claimant:
    """Whoever claims, one claim at a time."""
    found = await claimant(call.db, call.actor.organization_id, call.actor.mode)
    await people.lock(call.db, found.person_id)
    return found


async def has_proof(db: Db, settings: Settings, who: Claimant) -> bool:
    if not settings.promotions.is_proof_needed or who.is_verified:
        return True
    return await has_deposited(db, settings, who.organization_id, who.mode)


async def has_deposited(db: Db, settings: Settings, organization_id: UUID, mode: Mode) -> bool:
    """At least so much, at face value and in assets of that mode."""
    least = max(to_atomic_down(settings.promotions.deposit_min, MILLIONTHS), 1)
    return await deposited(db, organization_id, mode) >= least


async def deposited(db: Db, organization_id: UUID, mode: Mode) -> int:
    return int(await db.fetchval(SQL.deposited, organization_id, mode))


async def require(call: Call, who: Claimant) -> None:
    settings = call.ports.settings
    if not await has_proof(call.db, settings, who):
        least = settings.promotions.deposit_min
        raise ProofNeeded(f"sign up with an e-mail address and verify it, or deposit ${least} or more first")
    await count_address(call, who)


async def count_address(call: Call, who: Claimant) -> None:
    """Mail addresses cost little more than agents do, but a house or an office shares a network address.

    Agents and people are counted apart, so that neither uses up what the other has.
    """
    promotions, where = call.ports.settings.promotions, unit(call.visitor.address)
    if who.is_agent:
        noun, most = "agents", promotions.claims_per_address_per_day
    else:
        noun, most, where = "people", promotions.people_claims_per_address_per_day, f"people {where}"
        if not most:
            return
    if await call.db.fetchval(SQL.count_address, where, most) is None:
        refusal = TooManyClaims(
            f"{noun} at your network address had {most} today; it starts anew at 00:00 UTC"
        )
        refusal.headers = until_midnight()
        raise refusal


def until_midnight() -> Mapping[str, str]:
    return {"Retry-After": str(seconds_to_midnight())}


def seconds_to_midnight() -> int:
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    return max(1, int((midnight - now).total_seconds()))


def cause(*parts: object) -> UUID:
    """The same for the same claim, so that it is given once."""
    return uuid5(NAMESPACE_URL, "farebox:promotion:" + ":".join(map(str, parts)))


async def is_given(db: Db, cause_id: UUID) -> bool:
    return bool(await db.fetchval(SQL.is_given, cause_id))


async def give(
    db: Db, settings: Settings, organization_id: UUID, what: Offer, reason: Reason, cause_id: UUID, text: str
) -> Record | None:
    """None when it was given before. ``BudgetEmpty`` when there is nothing to give it from."""
    expires_at = datetime.now(UTC) + timedelta(days=settings.promotions.expire_days)
    new = NewGrant(organization_id, what.asset.id, what.amount, reason, cause_id, text, expires_at)
    try:
        return await grants.give(db, new)
    except Short:
        raise BudgetEmpty("nothing was given: the platform's promotion budget has too little left") from None


async def balance(db: Db, organization_id: UUID, mode: Mode) -> int:
    """What it can spend now, in millionths of a dollar."""
    rows = await db.fetch(SQL.balances, organization_id, mode)
    return sum(millionths(row["available"], row["decimals"]) for row in rows)


async def today(db: Db) -> date:
    """By the database's clock, which all replicas share."""
    day: date = await db.fetchval(SQL.today)
    return day


async def claims_left(db: Db, settings: Settings, who: Claimant) -> int:
    """How often they may claim this month, today included."""
    claimed = int(await db.fetchval(SQL.claims_of_month, who.person_id, who.mode))
    return max(settings.promotions.daily_claims_per_month - claimed, 0)


async def cards(db: Db, who: Claimant) -> list[str]:
    return [row[0] for row in await db.fetch(SQL.cards, who.organization_id, who.mode)]


async def take_card(db: Db, fingerprints: list[str], mode: Mode) -> bool:
    """False when there was a bonus for each of these cards, whoever had it."""
    return await db.fetchval(SQL.take_card, fingerprints, mode) is not None


async def prune(pool: Pool) -> None:
    await pool.execute(SQL.prune)
