from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from asyncpg.pool import Pool as AnyPool

from gateway.kit.sql import Db, Statements
from gateway.ledger import charging

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Charged:
    id: UUID
    publisher_id: UUID
    payer_id: UUID
    agent_wallet: str
    asset_id: UUID
    decimals: int
    mode: str
    amount: int
    fee: int
    refunded: int
    slashed: int
    description: str
    digest: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    id: UUID
    decimals: int


def attempt(db: Db) -> asyncpg.transaction.Transaction:
    """A part of the operation's transaction that can be taken back by itself."""
    assert not isinstance(db, AnyPool), "an operation that moves money is a transaction"
    return db.transaction()


async def payer(db: Db, wallet: str) -> UUID | None:
    """The organization that proved the address, while it can act."""
    found: UUID | None = await db.fetchval(SQL.payer, wallet)
    return found


async def accepted(db: Db, publisher_id: UUID, mode: str) -> Sequence[Accepted]:
    """What the publisher takes from a balance, in the money of that mode, its primary asset first."""
    rows = await db.fetch(SQL.accepted, publisher_id, mode)
    return [Accepted(row["id"], row["decimals"]) for row in rows]


async def insert(db: Db, one: charging.Charge, key: UUID | None, digest: bytes) -> bool:
    """False when the publisher has a charge under this key."""
    found = await db.fetchval(
        SQL.insert, one.id, one.publisher_id, one.payer_id, one.wallet, one.asset_id, one.amount, one.fee,
        one.description, key, digest,
    )  # fmt: skip
    return found is not None


async def named(db: Db, publisher_id: UUID, key: UUID) -> Charged | None:
    row = await db.fetchrow(SQL.named, publisher_id, key)
    return Charged(**dict(row)) if row else None


async def find(db: Db, publisher_id: UUID, charge_id: UUID, mode: str) -> Charged | None:
    row = await db.fetchrow(SQL.find, publisher_id, charge_id, mode)
    return Charged(**dict(row)) if row else None


async def lock(db: Db, publisher_id: UUID, charge_id: UUID, mode: str) -> Charged | None:
    """Refunds and penalties of one charge are decided one after another."""
    row = await db.fetchrow(SQL.lock, publisher_id, charge_id, mode)
    return Charged(**dict(row)) if row else None


async def refund(db: Db, charge_id: UUID, refund_id: UUID, amount: int, reason: str) -> None:
    await db.execute(SQL.refund, charge_id, refund_id, amount, reason)


async def slash(db: Db, charge_id: UUID, slash_id: UUID, amount: int, reason: str) -> None:
    await db.execute(SQL.slash, charge_id, slash_id, amount, reason)
