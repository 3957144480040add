"""What a payer's money is taken from, for transfers that no hold was opened for."""

from uuid import UUID

from gateway.kit.sql import Db
from gateway.ledger import accounts


async def take(db: Db, owner_id: UUID, asset_id: UUID, amount: int) -> dict[UUID, int]:
    """The legs of a transfer that takes so much from the owner, in the transaction that moves it.

    It does not look whether there is enough: ``moves.move`` does, and raises ``Short``.
    """
    return {await accounts.ensure(db, owner_id, asset_id, "funded"): -amount}
