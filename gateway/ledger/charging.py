"""Money that a publisher takes from a wallet without a call, and gives back.

``control/charges`` decides and keeps the record; here is what moves, in its transaction.
"""

from dataclasses import dataclass
from uuid import UUID

from gateway.kit.sql import Db, Statements
from gateway.ledger import accounts, moves, usage
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.shares import share
from gateway.ledger.taking import take
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
    legs = await take(db, one.payer_id, one.asset_id, one.amount)
    legs[await accounts.ensure(db, one.payee_id, one.asset_id, "earnings")] = one.amount - one.fee
    if one.fee:
        legs[await accounts.ensure(db, PLATFORM, one.asset_id, "fees")] = one.fee
    await moves.move(db, "charge", one.id, one.description, legs)
    row = Usage(
        one.id, one.publisher_id, one.payer_id, one.wallet, "prepaid", "CHARGE", "/", "charged", 200,
        one.asset_id, one.amount,
    )  # fmt: skip
    await usage.record(db, [row])


async def refund(db: Db, refund_id: UUID, charge_id: UUID, amount: int, description: str) -> None:
    """Give so much of a charge back, from whom it went to and to where it came from, each in proportion.

    Of what is left of each, so a charge that is refunded in whole leaves every account as it was, whatever
    the parts were. The caller has locked the charge. ``Short`` when the earnings, or the fees, are spent.
    """
    rows = await db.fetch(SQL.standing, charge_id)
    paid = {row["account_id"]: -int(row["amount"]) for row in rows if row["amount"] < 0}
    given = {row["account_id"]: int(row["amount"]) for row in rows if row["amount"] > 0}
    back = share(amount, paid)
    taken = {account_id: -part for account_id, part in share(amount, given).items()}
    await moves.move(db, "refund", refund_id, description, {**back, **taken})


async def slash(db: Db, slash_id: UUID, one: Charge, amount: int, description: str) -> None:
    """Take a penalty for a charge from its payer. The publisher has all of it: the platform takes no fee."""
    legs = await take(db, one.payer_id, one.asset_id, amount)
    legs[await accounts.ensure(db, one.payee_id, one.asset_id, "earnings")] = amount
    await moves.move(db, "slash", slash_id, description, legs)
