from typing import Any

from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def on_sale(db: Db) -> list[dict[str, Any]]:
    """Active publishers that take x402, with their endpoints and the prices of their primary asset."""
    return [dict(row) for row in await db.fetch(SQL.on_sale)]
