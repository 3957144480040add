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


async def emit(
    db: Db, organization_id: UUID, type: EventType, payload: Mapping[str, Any], project_id: UUID | None = None
) -> None:
    """``db`` is the transaction that did what the event tells. Payloads are ids, amounts and names: small.

    What is of a project says so, in the payload too: ``project_id`` is for webhooks that listen to one.
    """
    told = dict(payload) if project_id is None else {**payload, "project_id": str(project_id)}
    await db.execute(SQL.emit, organization_id, type, told, project_id)


async def prune(db: Db, kept: timedelta) -> None:
    await db.execute(SQL.prune, kept)
