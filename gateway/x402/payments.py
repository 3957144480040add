"""The durable record of each x402 payment, and the only way it changes state.

``claimed`` before the upstream is called; then ``void`` when the call cost nothing, or ``submitted`` with a
stored transaction; then ``settled`` or ``failed``. A claim is never taken back, so a payment buys one call at
most.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from gateway.answers import store
from gateway.answers.store import Kept
from gateway.kit import ids
from gateway.kit.sql import Db, Statements
from gateway.kit.values import dataclass
from gateway.ledger import transfers
from gateway.x402.facilitator import Authorization

SQL = Statements(__file__)
SUBMIT = store.keeping(SQL.submit, 2)
SETTLE = transfers.booking(SQL.settle, SQL.forgive)
# Not the payer's doing: nobody mined its payment in time.
UNTIMELY = "invalid_exact_evm_payload_authorization_valid_before"

Purpose: TypeAlias = Literal["call", "deposit", "facilitated"]
State: TypeAlias = Literal["claimed", "void", "submitted", "settled", "failed"]


# In the order of ``claim``'s parameters.
CLAIMED = "id", "purpose", "request_digest", "credit_id", "is_owed", "fee", "identifier"
SIGNED = "payer", "nonce", "pay_to", "amount", "valid_after", "valid_before", "signature"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a payment is for, fixed when its nonce is claimed."""

    id: UUID
    purpose: Purpose
    authorization: Authorization
    request_digest: bytes
    credit_id: UUID
    is_owed: bool
    """False when the money goes straight to the publisher's wallet: recorded, not owed."""
    fee: int
    identifier: str | None = None
    """What its payer calls it."""
    failures_max: int = 0
    """After so many payments in a row that did not settle, its payer's are not claimed; 0 claims all."""


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as stored. ``transaction_hash`` is None until one was signed."""

    id: UUID
    purpose: Purpose
    asset_id: UUID
    payer: str
    amount: int
    signature: bytes
    request_digest: bytes
    credit_id: UUID
    is_owed: bool
    fee: int
    usage: dict[str, Any] | None
    state: State
    failure: str | None
    created_at: datetime
    transaction_hash: bytes | None = None
    identifier: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What settled a payment."""

    transaction: str
    is_final: bool
    """Whether nobody can be asked for it again: neither whether it settled, nor whether it was taken back."""


async def claim(db: Db, new: Claim) -> bool:
    """False when this authorization, or its payer's name for it, was claimed before by whatever request."""
    return new.id in await claim_all(db, [new])


async def claim_all(db: Db, batch: Sequence[Claim]) -> set[UUID]:
    """Those that were claimed, of two with the same nonce or name the first."""
    return {row["id"] for row in await db.fetch(SQL.claim, *columns(batch))}


async def claim_and_sum(db: Db, batch: Sequence[Claim]) -> dict[UUID, int]:
    """Those that were claimed, each with what its payer had signed away before, in the same asset, to
    requests that are running.
    """
    rows = await db.fetch(SQL.claim_and_sum, *columns(batch))
    return {row["id"]: row["promised"] for row in rows}


def columns(batch: Sequence[Claim]) -> tuple[Sequence[Any], ...]:
    signed = [one.authorization for one in batch]
    return (
        *([getattr(one, name) for one in batch] for name in CLAIMED),
        [one.asset.id for one in signed],
        *([getattr(one, name) for one in signed] for name in SIGNED),
        [one.failures_max for one in batch],
    )


async def states(db: Db, payment_ids: Sequence[UUID]) -> dict[UUID, State]:
    """Of those that are there."""
    return {row["id"]: row["state"] for row in await db.fetch(SQL.states, payment_ids)}


async def promised(db: Db, payers: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], int]:
    """What each payer has signed away, in one asset, to requests that are running."""
    rows = await db.fetch(SQL.promised, [asset_id for asset_id, _ in payers], [payer for _, payer in payers])
    return {(row["asset_id"], row["payer"]): row["promised"] for row in rows}


async def find(db: Db, authorization: Authorization) -> Payment | None:
    """The payment that claimed this authorization's nonce, whatever else it said."""
    one = authorization
    return stored(await db.fetchrow(SQL.find, one.asset.id, one.payer, one.nonce))


async def find_identified(db: Db, payer: str, identifier: str) -> Payment | None:
    """The payment that its payer called this, unless it cost nothing."""
    return stored(await db.fetchrow(SQL.find_identified, payer, identifier))


async def get(db: Db, payment_id: UUID) -> Payment | None:
    return stored(await db.fetchrow(SQL.get, payment_id))


async def is_failing(db: Db, claim: Claim) -> bool:
    """Whether it was not claimed because its payer's payments do not settle."""
    failures = await db.fetchval(SQL.failures, claim.authorization.payer) or 0
    return 0 < claim.failures_max <= failures


async def void(db: Db, payment_id: UUID, reason: str, *, is_blamed: bool = False) -> bool:
    """``is_blamed`` counts it against its payer, for whom an upstream was called."""
    return await db.fetchval(SQL.void, payment_id, reason, is_blamed) is not None


async def submit(db: Db, usage: Mapping[UUID, Mapping[str, Any]], answers: Sequence[Kept] = ()) -> set[UUID]:
    """Those that were claimed till now; nothing may be sent for any other. The answers are kept with them."""
    kept = store.columns(answers)
    return {row["id"] for row in await db.fetch(SUBMIT, list(usage), texts(usage), *kept)}


def texts(usage: Mapping[UUID, Mapping[str, Any]]) -> list[str]:
    """As JSON, ten times as fast as a column's own way to it."""
    return [msgspec.json.encode(one).decode() for one in usage.values()]


async def settle(db: Db, settled: Mapping[UUID, Settled]) -> None:
    """Settle payments and book them, unless somebody has: by one statement, never one without the other."""
    is_final = [one.is_final for one in settled.values()]
    await db.execute(SETTLE, list(settled), [ids.new() for _ in settled], hashes(settled), is_final)


def hashes(settled: Mapping[UUID, Settled]) -> list[bytes | None]:
    return [bytes.fromhex(one.transaction.removeprefix("0x")) or None for one in settled.values()]


async def name_transaction(db: Db, payment_id: UUID, transaction: str) -> None:
    """Write down what somebody else says it sent for a payment."""
    await db.execute(SQL.name_transaction, payment_id, bytes.fromhex(transaction.removeprefix("0x")))


async def fail(db: Db, payment_id: UUID, failure: str) -> bool:
    return await db.fetchval(SQL.fail, payment_id, failure, failure != UNTIMELY) is not None


async def take_submitted(db: Db, network: str, age: timedelta, limit: int) -> Sequence[UUID]:
    """A network's payments whose outcome nobody has asked for in a while: the caller's to ask for now."""
    return [row["id"] for row in await db.fetch(SQL.take_submitted, network, age, limit)]


async def take_settled(db: Db, age: timedelta, limit: int) -> Sequence[UUID]:
    """Settled payments that are not final, and that nobody has looked at in a while."""
    return [row["id"] for row in await db.fetch(SQL.take_settled, age, limit)]


async def finalize(db: Db, payment_ids: Sequence[UUID]) -> None:
    """Nothing can take these back any more."""
    await db.execute(SQL.finalize, payment_ids)


async def lose(db: Db, payment_id: UUID) -> None:
    """Its transaction was taken back for good; the booking stands until somebody decides."""
    await db.execute(SQL.lose, payment_id)


async def rename(db: Db, payment_id: UUID, transaction: str) -> None:
    """Another transaction settles it now than the one that did before the chain was reorganized."""
    await db.execute(SQL.rename, payment_id, bytes.fromhex(transaction.removeprefix("0x")))


async def abandon(db: Db, age: timedelta) -> int:
    return len(await db.fetch(SQL.abandon, age))


def stored(row: Any) -> Payment | None:
    if row is None:
        return None
    return Payment(**{name: row[name] for name in Payment.__slots__ if name in row.keys()})  # noqa: SIM118
