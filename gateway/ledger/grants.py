"""Promotional money: given from the platform's budget, spent before anything else, gone when it expires.

A grant is given for one cause, once. Its money is on the organization's promotional account, which has what
the grants have left, to the atomic unit; ``promoted`` spends it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from gateway.kit import ids
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import accounts, events, moves
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)

Reason: TypeAlias = Literal["signup", "payment_method", "daily", "referral", "gift"]

# Accounts whose grants one run of the job expires.
BATCH = 100


@dataclass(frozen=True, slots=True)
class NewGrant:
    organization_id: UUID
    asset_id: UUID
    amount: int
    reason: Reason
    cause_id: UUID
    """Why it is given; the same is given once."""
    description: str
    """What the wallet says."""
    expires_at: datetime


async def give(db: Db, new: NewGrant) -> Record | None:
    """The grant, in the caller's transaction. None when it was given for this cause before.

    Raises ``moves.Short`` when the budget does not have it: then nothing was given.
    """
    budget_id = await accounts.ensure(db, PLATFORM, new.asset_id, "promotion_budget")
    account_id = await accounts.ensure(db, new.organization_id, new.asset_id, "promotional")
    # A hold names a funded account, also when promotional money pays for all of it.
    funded_id = await accounts.ensure(db, new.organization_id, new.asset_id, "funded")
    await db.execute(SQL.lock, [budget_id, account_id, funded_id])
    legs = {budget_id: -new.amount, account_id: new.amount}
    if await moves.move(db, "grant", new.cause_id, new.description, legs) is None:
        return None
    given = await db.fetchrow(
        SQL.insert, ids.new(), new.organization_id, account_id, new.asset_id, new.reason, new.cause_id,
        new.description, new.amount, new.expires_at,
    )  # fmt: skip
    assert given is not None, "its cause moved money for the first time"
    await promote(db, funded_id)
    told = {
        "grant_id": str(given["id"]),
        "asset_id": str(new.asset_id),
        "amount_atomic": str(new.amount),
        "reason": new.reason,
        "description": new.description[:500],
        "expires_at": new.expires_at.isoformat(),
    }
    await events.emit(db, new.organization_id, "wallet.granted", told)
    return given


async def promote(db: Db, funded_id: UUID) -> None:
    """Have calls look for grants beside this account, once it is locked."""
    await db.execute(SQL.promote, funded_id)


async def expire(pool: Pool) -> int:
    """Give back to the budget what nobody spent in time, and return of how many grants."""
    expired = 0
    for row in await pool.fetch(SQL.due, BATCH):
        async with pool.acquire() as connection, connection.transaction():
            expired += await expire_account(connection, row["account_id"], row["asset_id"])
    return expired


async def expire_account(db: Db, account_id: UUID, asset_id: UUID) -> int:
    budget_id = await accounts.ensure(db, PLATFORM, asset_id, "promotion_budget")
    await db.execute(SQL.lock, [budget_id, account_id])
    due = await db.fetch(SQL.expire, account_id)
    for row in due:
        legs = {account_id: -row["unspent"], budget_id: row["unspent"]}
        # A cause of its own: what was held at first expires once more when its call has ended.
        await moves.move(db, "expiry", ids.new(), f"Expired: {row['description']}", legs)
        told = {
            "grant_id": str(row["id"]),
            "asset_id": str(row["asset_id"]),
            "amount_atomic": str(row["unspent"]),
            "description": row["description"][:500],
        }
        await events.emit(db, row["organization_id"], "wallet.grant_expired", told)
    return len(due)


async def fill(db: Db, asset_id: UUID, amount: int, source: Literal["bank", "fees"], cause_id: UUID) -> None:
    """Put money into the budget. Raises ``moves.Short`` when the fees are less than that."""
    budget_id = await accounts.ensure(db, PLATFORM, asset_id, "promotion_budget")
    source_id = await accounts.ensure(db, PLATFORM, asset_id, source)
    legs = {source_id: -amount, budget_id: amount}
    await moves.move(db, "deposit", cause_id, f"Promotion budget, from {source}", legs)


async def budgets(db: Db) -> list[Record]:
    """Each asset with what the budget has, and what was given and neither spent nor expired."""
    return await db.fetch(SQL.budgets)
