"""What an organization may want to be told, written in the transaction that made it so.

``emit`` is the one way to write an event. Only statements of this directory write their own, where the event
belongs to a batch; ``event_types`` lists theirs as well. A trigger queues each for the webhooks that want it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from gateway.kit.sql import Db, Statements
from gateway.ledger.event_types import EventType

SQL = Statements(__file__)


async def emit(db: Db, organization_id: UUID, type: EventType, payload: Mapping[str, Any]) -> None:
    """``db`` is the transaction that did what the event tells. Payloads are ids, amounts and names: small."""
    await db.execute(SQL.emit, organization_id, type, dict(payload))


async def prune(db: Db, kept: timedelta) -> None:
    await db.execute(SQL.prune, kept)
