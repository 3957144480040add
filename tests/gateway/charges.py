"""A charge to a purse, as a rail would ask for it."""

import asyncio
from uuid import UUID

from gateway.ledger import slips
from gateway.ledger.batches import Posting
from gateway.ledger.purses import Purses
from gateway.ledger.slips import Charge
from gateway.ledger.spenders import CALLS_MIN, Purse


async def purse_of(own: Purses, owner: UUID, asset_id: UUID, amounts: list[int]) -> Purse:
    """A purse that calls of these amounts have drawn on, once their owner is known to call often."""
    for _ in range(2 * CALLS_MIN):
        if (purse := own.draw(owner, asset_id, amounts[0])) is not None:
            own.put_back(purse, amounts[0])
    await asyncio.gather(*own.crew.tasks)
    draws = [own.draw(owner, asset_id, amount) for amount in amounts]
    assert draws[-1] is not None
    return draws[-1]


def charge_of(purse: Purse, payee_id: UUID, one: Posting) -> Charge:
    said = slips.said(
        payee_id, one.spent, one.fee, one.publisher_id, one.status, one.method, one.path, one.description
    )
    return Charge(purse, one.call_id, one.spent, said, one.alert_below)
