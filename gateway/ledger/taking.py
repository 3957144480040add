"""What a payer's money is taken from when no hold was opened for it, and how grants get theirs back."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from gateway.kit.sql import Db, Statements
from gateway.ledger import accounts, grants
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Payer:
    owner_id: UUID
    payee_id: UUID
    """The organization that is paid: nobody's promotional money pays themselves."""
    asset_id: UUID


async def take(db: Db, who: Payer, amount: int, cause_id: UUID, others: Iterable[UUID]) -> dict[UUID, int]:
    """The payer's legs of a transfer that takes so much: grants pay first, and of them what expires first.

    In the transaction that moves it, with ``others``, the accounts that it goes to: all of them are locked in
    one order, here as everywhere. It does not look whether there is enough funded money: ``moves.move`` does,
    and raises ``Short``, after which the caller takes back what was drawn here as well.
    """
    funded = await accounts.ensure(db, who.owner_id, who.asset_id, "funded")
    promotional = await accounts.find(db, who.owner_id, who.asset_id, "promotional")
    if promotional is None:
        return {funded: -amount}
    await db.execute(SQL.lock, [funded, promotional, *others])
    drawn = int(await db.fetchval(SQL.draw, promotional, amount, cause_id, who.owner_id, who.payee_id))
    return {promotional: -drawn, funded: drawn - amount}


async def lock_to_give_back(db: Db, asset_id: UUID, promotional: UUID, others: Iterable[UUID]) -> UUID:
    """Lock all accounts of a refund in one order, and return the payer's funded one."""
    funded = await accounts.ensure(db, await accounts.owner(db, promotional), asset_id, "funded")
    budget = await accounts.ensure(db, PLATFORM, asset_id, "promotion_budget")
    await db.execute(SQL.lock, [funded, promotional, budget, *others])
    return funded


async def give_back(
    db: Db, asset_id: UUID, promotional: UUID, funded: UUID, charge_id: UUID, refund_id: UUID, amount: int
) -> None:
    """Put so much of a charge back into the grants that paid for it, once it is on their account again.

    The last one to expire comes first, as it does when a call costs less than was held for it. What belongs
    to a grant that has expired goes on to the promotion budget at once, by a transfer that says so.
    """
    given = await db.fetchval(SQL.give_back, charge_id, refund_id, amount)
    assert given == amount, "what stands of the charge is what its grants spent for it"
    await grants.promote(db, funded)
    await grants.expire_account(db, promotional, asset_id)
