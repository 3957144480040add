from uuid import UUID

from control.api.operation import Call, Room
from control.api.paging import Data
from control.settlements import store
from control.settlements.models import SettlementReceipt
from gateway.kit.problem import NotFound

room = Room("settlements", "/wallet/settlements")


@room.get("/{settlement_id}", access="wallet.read", fails=[NotFound], id="get_settlement_receipt")
async def show(call: Call, settlement_id: UUID) -> Data[SettlementReceipt]:
    """Show what became of one priced call of yours, by the id that its answer had."""
    receipt = await store.find(call.db, call.actor.organization_id, call.actor.mode, settlement_id)
    if receipt is None:
        raise NotFound(f"no settlement {settlement_id}")
    return Data(data=receipt)
