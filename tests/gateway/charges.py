"""A charge to a purse, as a rail would ask for it."""

from uuid import UUID

from gateway.ledger import slips
from gateway.ledger.batches import Posting
from gateway.ledger.slips import Charge
from gateway.ledger.spenders import Purse


def charge_of(purse: Purse, payee_id: UUID, one: Posting) -> Charge:
    said = slips.said(
        payee_id, one.spent, one.fee, one.publisher_id, one.status, one.method, one.path, one.description
    )
    return Charge(purse, one.call_id, one.spent, said, one.alert_below)
