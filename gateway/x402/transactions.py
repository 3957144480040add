"""Transactions that the gateway signed, stored before they are sent, and the account nonces they use up.

A signer's nonces are handed out one after another, in the database transaction that stores what uses them. So
none is skipped, which would hold up every later one, and none is used twice, however many processes sign.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from gateway.answers import store as store_of_answers
from gateway.answers.store import Kept
from gateway.kit.sql import Db, Statements
from gateway.kit.values import dataclass
from gateway.types import Asset
from gateway.x402 import payments
from gateway.x402.facilitator import Authorization
from gateway.x402.payments import State

SQL = Statements(__file__)
SUBMIT = store_of_answers.keeping(SQL.submit, 10)


@dataclass(frozen=True, slots=True)
class Signed:
    hash: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """What was signed, and the payments that it settles."""

    signed: Signed
    payment_ids: Sequence[UUID]

    @property
    def is_shared(self) -> bool:
        return len(self.payment_ids) > 1


@dataclass(frozen=True, slots=True)
class Stored:
    """A payment with its transactions, and what one of them has to prove."""

    id: UUID
    asset_id: UUID
    network: str
    asset: str
    """The token's contract."""
    decimals: int
    payer: str
    pay_to: str
    amount: int
    nonce: bytes
    valid_after: int
    valid_before: int
    signature: bytes
    state: State
    failure: str | None
    known_hash: bytes | None
    """What settled it, or what a remote facilitator says does."""
    claimed_at: datetime
    hashes: Sequence[bytes]
    """What we signed for it, newest first: the same account nonce, with ever higher fees."""
    signer: str | None
    signer_nonce: int | None
    is_shared: bool = False
    """Whether other payments are in the same transactions."""

    @property
    def hash_text(self) -> str:
        """The transaction to name; "" when nobody has named one yet."""
        named = self.known_hash or next(iter(self.hashes), None)
        return "0x" + named.hex() if named else ""

    @property
    def candidates(self) -> Sequence[str]:
        """Every transaction that may settle it."""
        known = [self.known_hash] if self.known_hash else []
        return ["0x" + one.hex() for one in dict.fromkeys([*known, *self.hashes])]


def authorized(stored: Stored, asset: Asset) -> Authorization:
    """What the payer signed, as it was claimed."""
    return Authorization(
        asset, stored.payer, stored.pay_to, int(stored.amount), int(stored.valid_after),
        int(stored.valid_before), stored.nonce, stored.signature,
    )  # fmt: skip


async def register(db: Db, network: str, signer: str, chain_nonce: int) -> None:
    """Make a signer known, and never hand out a nonce that the chain has seen."""
    await db.execute(SQL.register, network, signer, chain_nonce)


async def take_nonces(db: Db, network: str, signer: str, count: int) -> int:
    """The first of so many; only within the transaction that stores what uses them."""
    nonce = await db.fetchval(SQL.take_nonces, network, signer, count)
    assert isinstance(nonce, int), "the signer was registered before it signed"
    return nonce


async def store(
    db: Db, network: str, signer: str, first_nonce: int, transactions: Sequence[Transaction]
) -> None:
    """What was signed for these payments, with one nonce after the other."""
    hashes, leaders, raws, shared = columns(transactions)
    await db.execute(SQL.store, network, signer, first_nonce, hashes, leaders, raws, shared)
    if any(shared):
        carriers = carriers_of(transactions)
        await db.execute(SQL.share, list(carriers), list(carriers.values()))


async def submit(
    db: Db,
    network: str,
    signer: str,
    first_nonce: int,
    usage: Mapping[UUID, Mapping[str, Any]],
    transactions: Sequence[Transaction],
    answers: Sequence[Kept] = (),
) -> bool:
    """Payments submitted with what was signed for them, from this nonce on; False when it is not the next one
    or one of them is not claimed any more, and nothing was done.
    """
    carriers = carriers_of(transactions)
    asked = list(usage), payments.texts(usage), [carriers.get(one) for one in usage]
    hashes, leaders, raws, shared = columns(transactions)
    try:
        return bool(
            await db.fetch(
                SUBMIT, network, signer, first_nonce, *asked, hashes, leaders, raws, shared,
                *store_of_answers.columns(answers),
            )
        )  # fmt: skip
    except asyncpg.NotNullViolationError:
        return False


def columns(
    transactions: Sequence[Transaction],
) -> tuple[list[bytes], list[UUID], list[bytes], list[bool]]:
    return (
        [one.signed.hash for one in transactions],
        [one.payment_ids[0] for one in transactions],
        [one.signed.raw for one in transactions],
        [one.is_shared for one in transactions],
    )


def carriers_of(transactions: Sequence[Transaction]) -> dict[UUID, UUID]:
    """Of each payment that shares a transaction, the one that it is stored under."""
    shared = [one.payment_ids for one in transactions if one.is_shared]
    return {payment_id: ids[0] for ids in shared for payment_id in ids}


async def leave(db: Db, payment_id: UUID) -> bool:
    """Take a payment out of its shared transaction; False when somebody has."""
    return await db.fetchval(SQL.leave, payment_id) is not None


async def signed(db: Db, payment_ids: Sequence[UUID]) -> dict[UUID, Signed]:
    """What was signed for these payments first, of those that have anything."""
    rows = await db.fetch(SQL.signed, payment_ids)
    return {row["payment_id"]: Signed(row["hash"], row["raw"]) for row in rows}


async def replace(db: Db, replaced: bytes, hash: bytes, raw: bytes) -> bool:
    """Store a transaction in place of another; False when somebody else did."""
    return await db.fetchval(SQL.replace, replaced, hash, raw) is not None


async def of_payment(db: Db, payment_id: UUID) -> Stored | None:
    return next(iter(await of_payments(db, [payment_id])), None)


async def of_payments(db: Db, payment_ids: Sequence[UUID]) -> Sequence[Stored]:
    return [Stored(**dict(row)) for row in await db.fetch(SQL.of_payments, list(payment_ids))]


async def from_nonce(db: Db, network: str, signer: str, first: int, last: int) -> Sequence[bytes]:
    """What the signer signed with these nonces, in their order, each as it was signed last."""
    return [row["raw"] for row in await db.fetch(SQL.from_nonce, network, signer, first, last)]


async def stuck(
    db: Db, network: str, signer: str, nonce: int, age: timedelta, versions_max: int
) -> tuple[bytes, bytes] | None:
    """The hash and the bytes of the newest transaction with this nonce, if it has waited for too long."""
    row = await db.fetchrow(SQL.stuck, network, signer, nonce, age, versions_max)
    return (row["hash"], row["raw"]) if row else None
