"""One transfer for one reason, in the transaction of whoever has it; calls go in batches, by ``holds``."""

from collections.abc import Mapping
from typing import Literal, TypeAlias
from uuid import UUID

import asyncpg

from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

Kind: TypeAlias = Literal[
    "charge",
    "deposit",
    "grant",
    "expiry",
    "refund",
    "slash",
    "payout_request",
    "payout",
    "payout_return",
    "invoice",
    "reversal",
]


class Short(Exception):
    """An account that may not go below zero has less than was to be taken; nothing was moved."""


async def move(db: Db, kind: Kind, cause_id: UUID, description: str, legs: Mapping[UUID, int]) -> UUID | None:
    """Book ``legs`` (account id -> atomic units, negative where money is taken from) and return the transfer.

    None if this cause has moved money of this kind before: then nothing happens. All accounts are of one
    asset, and amounts sum to zero; the database refuses what does not. Raises ``Short``, after which the
    transaction goes on as if this had not been asked.
    """
    booked = {account_id: amount for account_id, amount in legs.items() if amount}
    if not booked:
        raise ValueError("a transfer moves something")
    args = (ids.new(), kind, cause_id, description, list(booked), list(booked.values()))
    try:
        if isinstance(db, asyncpg.Pool):
            return moved(await db.fetchval(SQL.move, *args))
        async with db.transaction():
            return moved(await db.fetchval(SQL.move, *args))
    except asyncpg.CheckViolationError as error:
        if error.constraint_name == "accounts_not_overdrawn":
            raise Short(f"{description}: the account has too little") from None
        raise


def moved(value: object) -> UUID | None:
    return value if isinstance(value, UUID) else None
