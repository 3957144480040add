from dataclasses import dataclass
from uuid import UUID

from control.referral import rules
from gateway.kit import ids
from gateway.kit.sql import Db, Statements
from gateway.types import Mode

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Referral:
    id: UUID
    organization_id: UUID
    referrer_id: UUID
    mode: Mode


@dataclass(frozen=True, slots=True)
class Sums:
    referrals: int
    earned: int
    pending: int


async def code_of(db: Db, organization_id: UUID) -> str:
    """Made when it is asked for first."""
    while (code := await db.fetchval(SQL.code, organization_id)) is None:
        # In vain when another organization has this one, or another request was faster.
        await db.execute(SQL.make_code, organization_id, rules.new())
    return str(code)


async def owner(db: Db, code: str, asker_id: UUID) -> tuple[UUID, bool] | None:
    """The organization that has the code, and whether it is the asker's own, or another one of theirs."""
    row = await db.fetchrow(SQL.owner, code, asker_id)
    return None if row is None else (row["id"], row["is_own"])


async def is_referred(db: Db, person_id: UUID, mode: Mode) -> bool:
    return bool(await db.fetchval(SQL.is_referred, person_id, mode))


async def insert(
    db: Db, person_id: UUID, organization_id: UUID, mode: Mode, referrer_id: UUID
) -> UUID | None:
    """None when somebody else brought them along before."""
    made: UUID | None = await db.fetchval(
        SQL.insert, ids.new(), person_id, organization_id, mode, referrer_id
    )
    return made


async def sums(db: Db, organization_id: UUID, mode: Mode) -> Sums:
    row = await db.fetchrow(SQL.sums, organization_id, mode)
    assert row is not None, "a count is always one row"
    return Sums(row["referrals"], int(row["earned"]), row["pending"])


async def look(db: Db, limit: int) -> list[Referral]:
    """Some that are not rewarded yet."""
    return [Referral(**dict(row)) for row in await db.fetch(SQL.look, limit)]


async def take(db: Db, referral_id: UUID) -> bool | None:
    """Lock one for rewarding it, and say whether its referrer is still there. None when it was rewarded."""
    row = await db.fetchrow(SQL.take, referral_id)
    return None if row is None else bool(row["is_there"])


async def rewarded(db: Db, referral_id: UUID, earned: int) -> None:
    await db.execute(SQL.rewarded, referral_id, earned)
