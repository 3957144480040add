"""The usage row of each call that was decided.

A charge of a prepaid call writes its own; see ``holds.sql``.
"""

from collections.abc import Mapping, Sequence
from operator import index
from typing import TypeAlias
from uuid import UUID

from gateway.kit.sql import Db, Statements, joined, listed
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


Said: TypeAlias = (
    "tuple[UUID, UUID | None, str | None, Rail, str, str, Outcome, int | None, UUID | None, int]"
)
"""All that the row says, in its order, but whose it is. Most calls of a moment say what others say."""


def said_of(event: Usage) -> Said:
    return (
        event.publisher_id, event.organization_id, event.payer, event.rail, event.method, event.path,
        event.outcome, event.status, event.asset_id, event.cost,
    )  # fmt: skip


async def record(db: Db, events: Sequence[Usage]) -> None:
    await record_alike(db, [(said_of(one), [one.call_id]) for one in events])


async def record_alike(db: Db, calls: Sequence[tuple[Said, Sequence[UUID]]]) -> None:
    said, call_ids = zip(*calls, strict=True)
    publishers, organizations, payers, rails, methods, paths, outcomes, statuses, assets, costs = zip(
        *said, strict=True
    )
    await db.execute(
        SQL.record,
        joined([f"{{{','.join(map(str, some))}}}" for some in call_ids]),
        listed(publishers),
        listed(organizations),
        joined([one or "" for one in payers]),
        joined(rails),
        joined(methods),
        joined(paths),
        joined(outcomes),
        listed(statuses),
        listed(assets),
        listed(map(index, costs)),
    )


async def add_offers(db: Db, offers: Mapping[UUID, int]) -> None:
    """How often callers were told a price, by publisher; ``offers`` is not empty."""
    await db.execute(SQL.add_offers, list(offers), list(offers.values()))


async def disown(db: Db, unborn: int, timeout_seconds: float) -> None:
    """After a restore into another cluster, whose transactions have lower numbers; see ``rollups``."""
    await db.execute(SQL.disown, unborn, timeout=timeout_seconds)
