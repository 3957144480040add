"""What somebody outside takes back of a deposit: as much of it as is still there."""

from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def take_back(
    db: Db, cause_id: UUID, description: str, account_id: UUID, clearing_id: UUID, amount: int
) -> int:
    """Move up to ``amount`` from the account to where it came in, and return how much that was.

    What is held for calls that are running stays: they were told that they are paid for. A cause takes once;
    asked again it takes nothing.
    """
    taken = await db.fetchval(
        SQL.take_back, ids.new(), cause_id, description, account_id, clearing_id, amount
    )
    return int(taken or 0)
