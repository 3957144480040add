"""The usage row of each call that was decided.

A charge of a prepaid call writes its own; see ``holds.sql``.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from uuid import UUID

from gateway.kit.sql import Db, Statements
from gateway.kit.values import dataclass
from gateway.types import Outcome, Rail

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Usage:
    call_id: UUID
    publisher_id: UUID
    organization_id: UUID | None
    payer: str | None
    rail: Rail
    method: str
    path: str
    outcome: Outcome
    status: int | None
    asset_id: UUID | None = None
    cost: int = 0


COLUMNS = attrgetter(*Usage.__slots__)


async def record(db: Db, events: Sequence[Usage]) -> None:
    await db.execute(SQL.record, *zip(*map(COLUMNS, events), strict=True))


async def add_offers(db: Db, offers: Mapping[UUID, int]) -> None:
    """How often callers were told a price, by publisher; ``offers`` is not empty."""
    await db.execute(SQL.add_offers, list(offers), list(offers.values()))


async def disown(db: Db, unborn: int, timeout_seconds: float) -> None:
    """After a restore into another cluster, whose transactions have lower numbers; see ``rollups``."""
    await db.execute(SQL.disown, unborn, timeout=timeout_seconds)
