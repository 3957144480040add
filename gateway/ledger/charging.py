"""Money that a publisher takes from a wallet without a call, and gives back.

``control/charges`` decides and keeps the record; here is what moves, in its transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from gateway.kit.sql import Db, Statements
from gateway.ledger import accounts, moves, taking, usage
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.shares import share
from gateway.ledger.taking import Payer
from gateway.ledger.usage import Usage

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Charge:
    id: UUID
    publisher_id: UUID
    payee_id: UUID
    """The publisher's organization."""
    payer_id: UUID
    wallet: str
    asset_id: UUID
    amount: int
    fee: int
    """The part of ``amount`` that is the platform's."""
    description: str


async def charge(db: Db, one: Charge) -> None:
    """Take the amount, give each its share, and write the usage row. ``Short`` when the payer lacks it."""
    gains = {await accounts.ensure(db, one.payee_id, one.asset_id, "earnings"): one.amount - one.fee}
    if one.fee:
        gains[await accounts.ensure(db, PLATFORM, one.asset_id, "fees")] = one.fee
    await taken(db, "charge", one.id, one.description, one, gains)
    row = Usage(
        one.id, one.publisher_id, one.payer_id, one.wallet, "prepaid", "CHARGE", "/", "charged", 200,
        one.asset_id, one.amount,
    )  # fmt: skip
    await usage.record(db, [row])


async def slash(db: Db, slash_id: UUID, one: Charge, amount: int, description: str) -> None:
    """Take a penalty for a charge from its payer. The publisher has all of it: the platform takes no fee."""
    gains = {await accounts.ensure(db, one.payee_id, one.asset_id, "earnings"): amount}
    await taken(db, "slash", slash_id, description, one, gains)


async def taken(
    db: Db, kind: moves.Kind, cause_id: UUID, description: str, one: Charge, gains: Mapping[UUID, int]
) -> None:
    """Move what the payer loses and the others gain. After ``Short``, what was drawn from grants is back."""
    payer = Payer(one.payer_id, one.payee_id, one.asset_id)
    async with part_of(db):
        legs = await taking.take(db, payer, sum(gains.values()), cause_id, gains)
        # A cause that has moved its money draws on nothing again.
        assert await moves.move(db, kind, cause_id, description, {**legs, **gains}), "its cause is new"


def part_of(db: Db) -> asyncpg.transaction.Transaction:
    assert not isinstance(db, asyncpg.Pool), "grants and accounts change in one transaction"
    return db.transaction()


async def refund(db: Db, refund_id: UUID, charge_id: UUID, amount: int, description: str) -> None:
    """Give so much of a charge back, from whom it went to in proportion, and to where it came from.

    The payer's own money first, and then to the grants. Of what is left of each, so a charge that is refunded
    in whole leaves every account as it was, whatever the parts were, but for grants that have expired. The
    caller has locked the charge. ``Short`` when the earnings, or the fees, are spent.
    """
    rows = await db.fetch(SQL.standing, charge_id)
    payers = {row["kind"]: row for row in rows if row["kind"] in ("funded", "promotional")}
    own = min(amount, -int(payers["funded"]["amount"])) if "funded" in payers else 0
    gained = {row["account_id"]: int(row["amount"]) for row in rows if row["amount"] > 0}
    legs = {account_id: -part for account_id, part in share(amount, gained).items()}
    if own:
        legs[payers["funded"]["account_id"]] = own
    if own == amount:
        await moves.move(db, "refund", refund_id, description, legs)
        return
    asset_id, promotional = payers["promotional"]["asset_id"], payers["promotional"]["account_id"]
    legs[promotional] = amount - own
    async with part_of(db):
        funded = await taking.lock_to_give_back(db, asset_id, promotional, legs)
        await moves.move(db, "refund", refund_id, description, legs)
        await taking.give_back(db, asset_id, promotional, funded, charge_id, refund_id, amount - own)
