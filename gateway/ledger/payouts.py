"""Earnings on their way out: the record of each payout, and the money that moves with its state.

    requested ──▶ submitted ──▶ sent ──▶ returned
        │             │           │
        └─────────────┴───────────┴────▶ failed

Every step is one transaction that moves the money, changes the state and tells the organization. A payout is
``submitted`` in the transaction that stores what was signed for it, so it is never signed for twice, and it
``failed`` only with proof that none of it can be mined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from gateway.kit.sql import Db, Statements
from gateway.ledger import accounts, events, moves
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.event_types import EventType
from gateway.ledger.moves import Short

SQL = Statements(__file__)

State: TypeAlias = Literal["requested", "submitted", "sent", "failed", "returned"]
OPEN: Sequence[State] = ("requested", "submitted")
Clearing: TypeAlias = Literal["chain", "bank"]


@dataclass(frozen=True, slots=True)
class Request:
    id: UUID
    publisher_id: UUID
    organization_id: UUID
    asset_id: UUID
    amount: int
    destination: str
    description: str
    key: UUID | None
    digest: bytes
    is_manual: bool = False
    age: timedelta = timedelta()
    """For how long earnings are not paid out."""


@dataclass(frozen=True, slots=True)
class Payout:
    id: UUID
    publisher_id: UUID
    organization_id: UUID
    asset_id: UUID
    network: str
    asset: str
    """The token's contract."""
    decimals: int
    mode: str
    amount: int
    destination: str
    description: str
    digest: bytes
    is_manual: bool
    state: State
    source: str | None
    known_hash: bytes | None
    reference: str | None
    failure: str | None
    doubt: str | None
    created_at: datetime
    hashes: Sequence[bytes]
    """What was signed for it, newest first: one account nonce, with ever higher fees."""
    signer: str | None
    signer_nonce: int | None

    @property
    def hash_text(self) -> str | None:
        named = self.known_hash or next(iter(self.hashes), None)
        return "0x" + named.hex() if named else None

    @property
    def candidates(self) -> Sequence[str]:
        return ["0x" + one.hex() for one in self.hashes]


async def request(db: Db, one: Request) -> bool:
    """Set the amount aside; False when the publisher has a payout under this key. ``Short`` when the earnings
    lack it, or would be no more than what is too young, or the organization owes, or earned with money that
    was given to the same people.
    """
    if await db.fetchval(SQL.insert, *(getattr(one, name) for name in Request.__slots__)) is None:
        return False
    earnings = await accounts.ensure(db, one.organization_id, one.asset_id, "earnings")
    aside = await accounts.ensure(db, one.organization_id, one.asset_id, "payouts")
    legs = {earnings: -one.amount, aside: one.amount}
    await moves.move(db, "payout_request", one.id, f"Payout: {one.description}", legs)
    # The move has locked the earnings, so nobody adds to either number before this transaction ends.
    if await db.fetchval(SQL.available, one.organization_id, one.asset_id, one.age) < 0:
        raise Short("what was given, is owed or is too young is not paid out")
    await tell(db, one.organization_id, "payout.requested", told(one))
    return True


async def available(db: Db, organization_id: UUID, asset_id: UUID, age: timedelta) -> int:
    """What can be paid out of what was earned so long ago, in atomic units; below zero if more was given to
    these people, or is owed.
    """
    return int(await db.fetchval(SQL.available, organization_id, asset_id, age) or 0)


async def find(db: Db, payout_id: UUID) -> Payout | None:
    return next(iter(await of(db, [payout_id])), None)


async def of(db: Db, payout_ids: Sequence[UUID]) -> Sequence[Payout]:
    """In the order of their ids."""
    return [Payout(**dict(row)) for row in await db.fetch(SQL.of, list(payout_ids))]


async def take_due(db: Db, network: str, age: timedelta, recheck: timedelta, limit: int) -> Sequence[Payout]:
    """Those of a network to be looked at now, and by nobody else for so long."""
    rows = await db.fetch(SQL.take_due, network, age, recheck, limit)
    return await of(db, [row["id"] for row in rows])


async def lock(db: Db, payout_id: UUID) -> Payout | None:
    """Its row, until the transaction ends."""
    await db.execute(SQL.lock, payout_id)
    return await find(db, payout_id)


async def submit(db: Db, payout_id: UUID, source: str) -> bool:
    """In the transaction that stores what is signed for it; False when somebody else has decided it."""
    return await db.fetchval(SQL.submit, payout_id, source) is not None


async def sent(
    db: Db, one: Payout, clearing: Clearing, *, known_hash: bytes | None = None, reference: str | None = None
) -> bool:
    """It arrived; False when that was known, or it is not open any more."""
    if await db.fetchval(SQL.close, one.id, "sent", OPEN, known_hash, reference, None) is None:
        return False
    legs = await between(db, one, (one.organization_id, "payouts"), (PLATFORM, clearing))
    await moves.move(db, "payout", one.id, f"Payout: {one.description}", legs)
    named = {"tx_hash": "0x" + known_hash.hex()} if known_hash else {}
    named |= {"reference": reference} if reference else {}
    await tell(db, one.organization_id, "payout.sent", {**told(one), **named})
    return True


async def failed(db: Db, one: Payout, reason: str) -> bool:
    """It was certainly not sent, and never will be: the money is earned and not paid out, as before."""
    if await db.fetchval(SQL.close, one.id, "failed", OPEN, None, None, reason) is None:
        return False
    legs = await between(db, one, (one.organization_id, "payouts"), (one.organization_id, "earnings"))
    await moves.move(db, "payout_return", one.id, f"Payout failed: {reason}", legs)
    await tell(db, one.organization_id, "payout.failed", {**told(one), "reason": reason})
    return True


async def returned(db: Db, one: Payout, reason: str) -> bool:
    """It was sent and came back: through the clearing account that it had left by."""
    if await db.fetchval(SQL.close, one.id, "returned", ["sent"], None, None, reason) is None:
        return False
    clearing = await db.fetchval(SQL.left_by, one.id)
    assert clearing is not None, "what was sent left by a clearing account"
    legs = await between(db, one, (PLATFORM, clearing), (one.organization_id, "earnings"))
    await moves.move(db, "payout_return", one.id, f"Payout returned: {reason}", legs)
    await tell(db, one.organization_id, "payout.returned", {**told(one), "reason": reason})
    return True


async def doubt(db: Db, payout_id: UUID, reason: str) -> None:
    """Nobody but a person can say what became of it."""
    await db.execute(SQL.doubt, payout_id, reason)


async def confirm(db: Db, payout_id: UUID, known_hash: bytes, *, is_final: bool) -> None:
    """Which transaction it is that the chain has now: after a reorganization it may be a replacement."""
    await db.execute(SQL.confirm, payout_id, known_hash, is_final)


async def under_way(db: Db, asset_id: UUID, source: str) -> int:
    """What is submitted from this wallet, and may not have left it yet."""
    return int(await db.fetchval(SQL.under_way, asset_id, source))


async def between(
    db: Db, one: Payout, source: tuple[UUID, accounts.Kind], target: tuple[UUID, accounts.Kind]
) -> dict[UUID, int]:
    taken = await accounts.ensure(db, source[0], one.asset_id, source[1])
    given = await accounts.ensure(db, target[0], one.asset_id, target[1])
    return {taken: -one.amount, given: one.amount}


def told(one: Request | Payout) -> Mapping[str, Any]:
    return {
        "payout_id": str(one.id),
        "publisher_id": str(one.publisher_id),
        "asset_id": str(one.asset_id),
        "amount_atomic": str(one.amount),
        "destination_wallet": one.destination,
    }


async def tell(db: Db, organization_id: UUID, type: EventType, payload: Mapping[str, Any]) -> None:
    await events.emit(db, organization_id, type, payload)
