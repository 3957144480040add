from uuid import UUID

from control.settlements.models import SettlementReceipt
from gateway.kit.money import millionths
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def find(db: Db, organization_id: UUID, mode: str, call_id: UUID) -> SettlementReceipt | None:
    """What became of a call that this organization pays for."""
    row = await db.fetchrow(SQL.receipt, organization_id, mode, call_id)
    if row is None:
        return None
    charged = {"pending": None, "expired": 0, "cancelled": 0}
    return SettlementReceipt(
        receipt_id=row["receipt_id"],
        status=row["status"],
        asset=row["asset"],
        charged_micros=charged.get(row["status"], millionths(row["spent"], row["decimals"])),
        updated_at=row["updated_at"],
    )
